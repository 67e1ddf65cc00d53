"""Batch prediction: a registered model over tables of any size, with the figures of the endpoint."""
