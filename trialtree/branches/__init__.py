"""Trials on branches: started, run and committed, listed, and made ready to merge."""
