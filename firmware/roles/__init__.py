"""Roles: which parts a node has, which points they give, which events they raise."""

from micropython import const

from protocols.wire.errors import UNKNOWN, LocalError

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.sensors.ports import Config, Events, PartsBoard

    from .base import Role


def make_role(name: str, board: "PartsBoard", config: "Config", events: "Events") -> "Role":
    """Make the role ``air``, ``water`` or ``camera``; only its own module is loaded.

    LocalError(UNKNOWN) for any other name.
    """
    if name == "air":
        from .air import Air

        return Air(board, config, events)
    if name == "water":
        from .water import Water

        return Water(board, config, events)
    if name == "camera":
        from .camera import Camera

        return Camera(board, config, events)
    raise LocalError(UNKNOWN, "role", -1, "air, water or camera", name)
