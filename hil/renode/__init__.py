"""Renode: its overlay, its models, the commands it is sent, the client that sends them."""
