"""A node's own log lines in the gateway's log: a few at once, then one a minute."""

import logging
from typing import Final

from gateway_agent.field.bus_log import LineLimit
from protocols.text_of_others import printable
from protocols.wire.errors import PeerError
from protocols.wire.link.messages import ERROR, INFORMATION, WARNING, parse_log

log = logging.getLogger(__name__)

_LEVELS: Final = {ERROR: logging.ERROR, WARNING: logging.WARNING, INFORMATION: logging.INFO}


class SpokenLog:
    """Logs what one node says; ``name`` is its name for the operator."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._limit = LineLimit()
        self._left_out = 0

    def line(self, message: bytes, now_ms: int) -> None:
        """Log one message of the log channel, or count it."""
        try:
            level, t_boot_ms, text = parse_log(message)
        except PeerError:
            return
        if not self._limit.take(now_ms):
            self._left_out += 1
            return
        shown, seconds = printable(text.decode("utf-8", "replace")), t_boot_ms / 1000
        more = f"; {self._left_out} lines before it are left out" if self._left_out else ""
        self._left_out = 0
        words = "%s: the node, %.1f s after its start: %s%s"
        log.log(_LEVELS[level], words, self._name, seconds, shown, more)
