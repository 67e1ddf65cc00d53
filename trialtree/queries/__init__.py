"""Questions about trials: which there are (`trialtree runs`), and how some differ (`trialtree compare`)."""
