"""What people run around the pipeline of a trialtree repository."""
