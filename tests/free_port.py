"""Ports for servers that a test starts later, which nobody else takes or calls meanwhile."""

import itertools
import os
import socket
from typing import Final

# Below what the kernel gives to others (net.ipv4.ip_local_port_range begins at 32768), and for each
# worker of pytest-xdist its own: a port that two have at once is one that a stranger answers on.
_OF_WORKER: Final = 1000
_FIRST: Final = 20_000
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS: Final = itertools.cycle(
    range(_FIRST + _WORKER % 10 * _OF_WORKER, _FIRST + (_WORKER % 10 + 1) * _OF_WORKER)
)


def free_port() -> int:
    """Return a port of the loopback interface on which nobody listens."""
    for port in itertools.islice(_PORTS, _OF_WORKER):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("every port of this worker is taken")
