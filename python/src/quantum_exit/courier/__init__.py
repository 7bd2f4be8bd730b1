"""The courier: takes every alert onto its own disk, and from there to whoever must be woken."""
