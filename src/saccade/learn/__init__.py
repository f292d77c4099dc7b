"""One page for each idea of the field: exact numbers, a thing to move, and the command that does it on a photo."""
