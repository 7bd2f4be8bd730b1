"""`exitctl top`: one screen that keeps up with a host. It reads Redis and nothing else of the
running system, and never writes."""
