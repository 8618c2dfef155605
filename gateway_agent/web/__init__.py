"""The console on site: pages, JSON, metrics and health checks of a running agent.

Loaded only where the configuration has a table ``[web]``: it needs the extra ``console``.
"""
