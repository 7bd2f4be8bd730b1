"""The control API under /paper: not part of the real protocol, for tests and sandboxes only."""
