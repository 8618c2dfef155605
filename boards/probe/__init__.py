"""What is connected to this computer: ports, bootloaders, consoles, nodes. Nothing is changed."""
