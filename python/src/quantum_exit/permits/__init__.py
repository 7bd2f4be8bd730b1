"""P3.3, the position state brain: snapshots of every position, and a permit or a refusal for
each plan. It reads the exchange and never writes to it."""
