"""The uplink to platforms that speak HJ 212: profiles, codes, aggregates, the exporter."""
