"""The DVC remote: where a trial's tables and models go, so that another clone has them too."""
