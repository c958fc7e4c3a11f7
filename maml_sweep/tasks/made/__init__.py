"""Data made on the spot, whose best possible answer is known."""
