"""Training: packs of trials advanced by one compiled program."""
