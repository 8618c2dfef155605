"""Two ends of the link over a wire with faults, by the hundred schedules: CPython only."""
