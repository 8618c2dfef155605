"""One folder per board: what the node application needs of the hardware."""
