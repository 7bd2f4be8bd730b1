"""Alerts: what they are, how they get onto the stream, and the watch that looks for silence."""
