"""Updates of nodes over their bus: the signed manifest and the window of registers."""
