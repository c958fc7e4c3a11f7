"""The sweeper plugin of maml_sweep."""
