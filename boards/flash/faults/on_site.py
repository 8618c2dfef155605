"""The errors of work on site, on a bus that is in use."""

from typing import Final

from .kinds import ON_SITE, FlashFault

SITE_NO_NODE: Final = FlashFault(
    70,
    "no such node at this address",
    "another address or speed, another node, or firmware from before such windows",
    "check --unit, --baud, --uid, wiring and power (`tianfu-node probe`), and repeat the command",
    ON_SITE,
)
SITE_DUPLICATE: Final = FlashFault(
    71,
    "several nodes have one address",
    "they were provisioned alike",
    "give one of them another: `tianfu-node commission address PORT --uid ID --to N --key FILE`",
    ON_SITE,
)
SITE_TAKEN: Final = FlashFault(
    72,
    "the new address is taken",
    "another device on the line has it",
    "choose another with --to; nothing was changed",
    ON_SITE,
)
SITE_RETURNED: Final = FlashFault(
    73,
    "the node was not heard at the new place and came back",
    "the line or another device on it does not carry the new speed, or the line is noisy",
    "the node is where it was; choose another speed or address, and repeat the command",
    ON_SITE,
)
SITE_LOST: Final = FlashFault(
    74,
    "the node is heard at neither place",
    "its power or the cable was cut meanwhile",
    "restore power and cable: it serves at one of the two places; look with `tianfu-node probe`",
    ON_SITE,
)
SITE_UNSTEADY: Final = FlashFault(
    75,
    "the probe does not come to rest",
    "it is not in the liquid, needs more time, or its cable is loose",
    "stir, wait, and repeat the command; the node has its old coefficients",
    ON_SITE,
)
SITE_PROBE: Final = FlashFault(
    76,
    "the probe is not usable",
    "it is worn, dirty or dry, or the references were swapped or are too old",
    "clean the probe, take fresh references, and repeat the command; else replace the probe",
    ON_SITE,
)
SITE_GATEWAY: Final = FlashFault(
    77,
    "the gateway does not pass the request on",
    "its agent does not run, has no such bus, or does not let this user or this request through",
    "name a bus of a running gateway as gateway:BUS or gateway:STATE_DIR/BUS; be in its site_group",
    ON_SITE,
)
