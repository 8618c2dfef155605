"""The buses: plan, request, schedule, verify, and turn answers into records."""
