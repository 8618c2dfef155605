"""From the outbox to the broker, and receipts back."""
