"""One position from its opening to its stop, on the paper exchange, with the times between."""
