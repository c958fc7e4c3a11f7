"""Rows of tables dealt to the meta-splits, and laid out so that tasks are drawn by index."""
