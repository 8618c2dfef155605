"""Plain JSON and SenML-JSON on MQTT: see :mod:`protocols.uplink.mqtt_json`."""
