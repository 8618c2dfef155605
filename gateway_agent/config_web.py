"""``[web]``: the console, ``/metrics`` and health checks on site.

Without this table nothing of it is loaded and no port is open. The console shows what the gateway
measures, so it listens on the machine itself only; whoever wants it from elsewhere forwards the
port over SSH (``ssh -L 8080:127.0.0.1:8080 gateway``) or puts a proxy with a login before it.
"""

from ipaddress import ip_address
from typing import Annotated

from msgspec import Meta, Struct

from .tables import TableReader


class WebConfig(Struct, frozen=True, kw_only=True):
    """``[web]``: where the console listens, and how much it may keep."""

    listen: Annotated[
        str,
        Meta(
            pattern=r"^([0-9.]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}\Z",
            description="a loopback address and a port",
            examples=["127.0.0.1:8080"],
        ),
    ] = "127.0.0.1:8080"
    # Of the last 48 hours of values, on the medium; the oldest go first.
    history_bytes: Annotated[
        int,
        Meta(ge=1 << 20, le=1 << 36, description="bytes, at least 1048576", examples=[67_108_864]),
    ] = 1 << 26

    @property
    def host(self) -> str:
        """Return the address without the brackets of IPv6."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Return the port; 0: the system chooses one."""
        return int(self.listen.rpartition(":")[2])


def check_web(reader: TableReader, web: WebConfig) -> None:
    """Report an address that somebody else can reach, or that is none."""
    try:
        is_good = ip_address(web.host).is_loopback and web.port < 1 << 16
    except ValueError:
        is_good = False
    if not is_good:
        reader.problem(
            "web.listen",
            web.listen,
            "an address of this machine itself, such as 127.0.0.1:8080 or [::1]:8080",
            "forward the port over SSH to see the console from elsewhere",
        )
