"""Proofs: checks of the running state that end in a verdict, each of which can fail."""
