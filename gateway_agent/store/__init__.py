"""The outbox keeps what was recorded and is not yet receipted, on a medium that may fail."""
