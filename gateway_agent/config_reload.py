"""``[reload]``: when a change of the configuration at run time is undone by itself."""

from typing import Annotated

from msgspec import Meta, Struct

from .config_types import count


class ReloadConfig(Struct, frozen=True, kw_only=True):
    """How long a new configuration is on probation, and what undoes it meanwhile."""

    # Long enough for every uplink to connect and for every device to be asked. 0: none.
    probation_s: Annotated[int, count(0, 86_400, 120)] = 120
    # Of the devices that answered before, on one bus that is changed or on all together: if more
    # of them fall silent, the change is undone.
    silent_share: Annotated[
        float, Meta(ge=0, le=1, description="a share from 0 to 1", examples=[0.2])
    ] = 0.2
