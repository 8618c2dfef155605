"""The gateway: polls nodes, keeps and signs what they measured, delivers it, checks receipts.

The names below are the face of the package: what another program may import and what stays. They
are imported when they are first used, because a command must start quickly and loads only what it
needs. Everything else in the package may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .agent import GatewayAgent
    from .clock import SystemClock
    from .config import GatewayConfig, load
    from .counters import Counters
    from .status import Status
    from .status_socket import StatusError, read_status
    from .tables import ConfigError

__all__ = [
    "ConfigError",
    "Counters",
    "GatewayAgent",
    "GatewayConfig",
    "Status",
    "StatusError",
    "SystemClock",
    "load",
    "read_status",
]

_MODULES: Final = {
    "ConfigError": "tables",
    "Counters": "counters",
    "GatewayAgent": "agent",
    "GatewayConfig": "config",
    "Status": "status",
    "StatusError": "status_socket",
    "SystemClock": "clock",
    "load": "config",
    "read_status": "status_socket",
}

if not TYPE_CHECKING:  # a type checker reads the imports above and finds a wrong name

    def __getattr__(name: str) -> object:
        """Import a name of the face. AttributeError for any other name."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
