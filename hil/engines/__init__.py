"""Engines start the node's real firmware: on QEMU, on Renode, or as a process of this host."""
