"""InfluxDB over HTTP: see :mod:`protocols.uplink.influxdb`."""
