"""The half of the protocols that only the gateway and the collector speak (CPython)."""
