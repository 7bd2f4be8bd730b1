"""Redis: connections, streams, and the atomic steps written as server-side scripts."""
