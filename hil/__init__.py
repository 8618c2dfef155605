"""The bench: emulated nodes, parts and lines. No other package imports it.

The names below are the face of the package: what a suite of its own may import and what stays. They
are imported when they are first used; pytest's fixtures come with the plugin ``hil.plugin``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .bench import Bench, Place
    from .engines.abilities import Capability
    from .engines.base import Board, Engine, NodeSpec
    from .errors import HilError

__all__ = [
    "Bench",
    "Board",
    "Capability",
    "Engine",
    "HilError",
    "NodeSpec",
    "Place",
]

_MODULES: Final = {
    "Bench": "bench",
    "Board": "engines.base",
    "Capability": "engines.abilities",
    "Engine": "engines.base",
    "HilError": "errors",
    "NodeSpec": "engines.base",
    "Place": "bench",
}

if not TYPE_CHECKING:  # a type checker reads the imports above and finds a wrong name

    def __getattr__(name: str) -> object:
        """Import a name of the face. AttributeError for any other name."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
