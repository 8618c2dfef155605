"""What each exporter makes of records, without the outbox around it."""
