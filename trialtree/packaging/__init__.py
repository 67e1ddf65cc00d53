"""A registered model as a folder that builds and runs without its repository: `trialtree package`."""
