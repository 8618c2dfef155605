"""Home Assistant through its device discovery: see :mod:`protocols.uplink.homeassistant`."""
