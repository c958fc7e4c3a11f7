"""Files of the field: where they lie, how they are laid out, and what is wrong with them."""
