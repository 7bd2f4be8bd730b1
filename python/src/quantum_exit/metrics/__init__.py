"""Metrics for Prometheus: read from what the services write anyway, so none of them is slowed."""
