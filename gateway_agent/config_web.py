"""``[web]``: the console, ``/metrics`` and health checks on site.

Without this table nothing of it is loaded and no port is open. The console shows what the gateway
measures, and an operator may change it there: so an address that other machines reach needs a
certificate and users. On the machine itself neither is needed to look.
"""

from ipaddress import ip_address
from typing import Annotated

from msgspec import Meta, Struct

from .config_types import File, PemFile
from .table_types import REMEDY
from .tables import TableReader


class WebConfig(Struct, frozen=True, kw_only=True):
    """``[web]``: where the console listens, and how much it may keep."""

    listen: Annotated[
        str,
        Meta(
            pattern=r"^([0-9.]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}\Z",
            description="an address of this machine and a port",
            examples=["127.0.0.1:8080"],
        ),
    ] = "127.0.0.1:8080"
    # For TLS: the chain of certificates, and the private key of the first.
    certificate: Annotated[PemFile, Meta(examples=["console.pem"])] | None = None
    key: Annotated[PemFile, Meta(examples=["console.key"])] | None = None
    # Who may log in; without it everybody on this machine may look.
    users: (
        Annotated[File, Meta(extra={REMEDY: "make it with `tianfu-gateway web user add`"})] | None
    ) = None
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
    """Report an address that is none, and one that others reach without TLS or a log-in."""
    if (web.certificate is None) != (web.key is None):
        absent = "certificate" if web.certificate is None else "key"
        remedy = f'write for instance {absent} = "console.{absent[:3]}"'
        reader.problem(f"web.{absent}", None, "both, certificate and key", remedy)
    try:
        address = ip_address(web.host)
        is_good = web.port < 1 << 16
    except ValueError:
        is_good = False
    if not is_good:
        wanted = "an address of this machine and a port, such as 127.0.0.1:8080 or 0.0.0.0:8443"
        reader.problem("web.listen", web.listen, wanted, "correct the address")
    elif not address.is_loopback and (web.certificate is None or web.users is None):
        reader.problem(
            "web.listen",
            web.listen,
            "an address of this machine itself, such as 127.0.0.1:8080, where the table has no"
            " certificate, key and users",
            "add all three (`tianfu-gateway web user add` makes the file of users), or forward the"
            " port over SSH to see the console from elsewhere",
        )
