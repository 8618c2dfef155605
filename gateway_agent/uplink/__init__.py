"""The uplink sends batches from the outbox to the broker and applies the receipts."""
