"""Tests of the node that need more than an interpreter: processes, ptys, signals, tracing."""
