"""Centre stations of SL 427 and SZY206 on TCP: see :mod:`protocols.uplink.sl427`."""
