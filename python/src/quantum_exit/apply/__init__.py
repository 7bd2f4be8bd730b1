"""The Apply Layer: verified exit intents become plans, everything else a plan that is BLOCKED.

It holds no key of the exchange and cannot sign for the owner.
"""
