"""The gateway: polls nodes, keeps and signs what they measured, delivers it, checks receipts."""
