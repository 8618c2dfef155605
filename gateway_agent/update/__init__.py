"""Updates of nodes over their buses: the image, the way of each node, the order of the nodes."""
