"""Judge a classifier that runs somewhere else: a deployed model, through the protocol that it is served by."""
