"""Centre stations of SL 651 on TCP: see :mod:`protocols.uplink.sl651`."""
