"""The receiving end: verify, commit, and only then sign a receipt.

The names below are the face of the package: what another program may import and what stays. They
are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .config import CollectorConfig, load
    from .database import Database, open_readonly
    from .figures import read_figures
    from .receiver import BatchOutcome, BatchReceiver
    from .service import CollectorService

__all__ = [
    "BatchOutcome",
    "BatchReceiver",
    "CollectorConfig",
    "CollectorService",
    "Database",
    "load",
    "open_readonly",
    "read_figures",
]

_MODULES: Final = {
    "BatchOutcome": "receiver",
    "BatchReceiver": "receiver",
    "CollectorConfig": "config",
    "CollectorService": "service",
    "Database": "database",
    "load": "config",
    "open_readonly": "database",
    "read_figures": "figures",
}

if not TYPE_CHECKING:  # a type checker reads the imports above and finds a wrong name

    def __getattr__(name: str) -> object:
        """Import a name of the face. AttributeError for any other name."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
