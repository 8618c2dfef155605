"""The framed serial link for both ends of the line; docs/link.md is its definition."""
