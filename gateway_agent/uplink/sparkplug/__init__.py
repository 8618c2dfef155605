"""A Sparkplug B edge node: see :mod:`protocols.uplink.sparkplug`."""
