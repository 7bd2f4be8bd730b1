"""exitctl: what an operator says to a running host, and what the host says back."""
