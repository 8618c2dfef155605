"""A whole site on this machine: broker, gateway and collector as processes, and their counts."""
