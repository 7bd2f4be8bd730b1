"""The Intent Executor (layer 2): the only process with a key that may trade."""
