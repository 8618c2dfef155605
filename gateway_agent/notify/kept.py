"""Keeps the notices that wait over a restart, in one file of the state directory."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from gateway_agent.state_file import read_state, write_state

from .queue import Notice

log: Final = logging.getLogger(__name__)

FILE_NAME: Final = "notices.json"


class KeptNotices(Struct, frozen=True, omit_defaults=True):
    """What the file keeps for one receiver."""

    waiting: list[Notice]
    lost: int = 0  # and in no notice yet


def keep_notices(directory: Path, kept: Mapping[str, KeptNotices]) -> None:
    """Write what waits, by receiver; durable when this returns.

    A file that cannot be written costs it at a restart.
    """
    path = directory / FILE_NAME
    try:
        if not kept:
            path.unlink(missing_ok=True)
            return
        write_state(path, kept)
    except OSError as error:
        log.debug("notices that wait are lost at a restart: %s", error)


def kept_notices(directory: Path) -> dict[str, KeptNotices]:
    """Return what waited when the agent before this one ended."""
    loss = "the notices that waited are lost"
    return read_state(directory / FILE_NAME, dict[str, KeptNotices], loss) or {}
