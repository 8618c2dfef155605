"""The ``[orders]`` table: whose signed orders a gateway takes over MQTT."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from .config_types import PublicKeyFile


class OrdersConfig(Struct, frozen=True, kw_only=True):
    """``[orders]``: the public keys of operators; a file's name up to its first dot is their name.

    Without the table no order is taken.
    """

    keys: Annotated[
        tuple[PublicKeyFile, ...],
        Meta(
            min_length=1,
            max_length=32,
            description="1 to 32 public key files of operators",
            examples=[["ana.pem.pub"]],
        ),
    ]


def operator_of(file: Path) -> str:
    """Return the name of the operator with this key file."""
    return file.name.partition(".")[0]
