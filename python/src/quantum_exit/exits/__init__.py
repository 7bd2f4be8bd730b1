"""The exit rules: pure functions in exact decimals. No clock, no network, no environment."""
