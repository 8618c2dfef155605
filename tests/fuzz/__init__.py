"""Whatever bytes come, a reader ends with a result, or with an error that it is known for."""
