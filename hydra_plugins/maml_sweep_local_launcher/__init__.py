"""The launcher plugin of maml_sweep."""
