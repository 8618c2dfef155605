"""The errors of this computer and of a batch: files, addresses, labels, lanes."""

from typing import Final

from .kinds import FlashFault

KEY_FILE: Final = FlashFault(
    40,
    "the node's key cannot be stored on this computer",
    "the folder is not writable or the disk is full",
    "name another folder with --keys, and repeat the command",
)
NO_ADDRESS: Final = FlashFault(
    45,
    "no address is left",
    "the station log has a proven node at each of the 247 addresses of a bus",
    "name the address with --unit, or begin another station log with --log",
)
BATCH_STOPPED: Final = FlashFault(
    46,
    "two boards in a row failed in the same way",
    "what they have in common is the cause: cable, adapter, supply, image or bus",
    "look up the code of the failures, mend that, and repeat the command",
)
