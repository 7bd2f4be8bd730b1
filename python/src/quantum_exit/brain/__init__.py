"""Exit Brain: watches positions and prices, decides exits, publishes signed intents.

It never sends an order. What it decides is pure (`engine`, `asking`, `watch`, `protection`);
`service` reads the world, and `store` writes state and intents in one atomic step.
"""
