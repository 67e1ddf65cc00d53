"""What `make walkthrough` runs: the commands of examples/walkthrough.md, in their order, each on its machine."""
