"""`tianfu-gateway demo`: the whole way of a reading on emulated nodes."""
