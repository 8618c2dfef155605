"""What a technician does with a node on site: move it, find it, calibrate its probes, aim it."""
