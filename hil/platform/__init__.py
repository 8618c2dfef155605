"""The other side of an uplink: platforms that ask, lose, answer late and close, for tests and demo.

Each is written from the protocol's description alone. It shares no constant with the product.
"""
