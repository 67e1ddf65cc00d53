"""Sweeps: many trials searching a space, each an ordinary DVC experiment, at the speed of an in-process search."""
