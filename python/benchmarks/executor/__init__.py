"""How fast and how small the Intent Executor is, beside a minimal consumer of the same stream."""
