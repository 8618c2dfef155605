"""CSV files by day, for whoever collects files: see :mod:`protocols.uplink.csv`."""
