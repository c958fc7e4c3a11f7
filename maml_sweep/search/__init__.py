"""The search: space, study, claims, pruning, and the worker that joins them with training."""
