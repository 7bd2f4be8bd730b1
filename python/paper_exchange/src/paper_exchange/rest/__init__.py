"""The protocol: parameters, keys and signatures, limits, answers."""
