"""ThingsBoard through its gateway MQTT API: see :mod:`protocols.uplink.thingsboard`."""
