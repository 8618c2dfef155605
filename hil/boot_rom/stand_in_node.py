"""A node as a process that shows an image's digest: ``stand_in_node.py NODE.json SHA256``.

For benches with more boards than QEMU has time for: MicroPython's unix port runs the firmware's
source, with the store and the digest of the flash that was written.
"""

import sys

_parts = __file__.rsplit("/", 3)
sys.path.insert(0, _parts[0] if len(_parts) > 3 else ("../..", "..", ".")[len(_parts) - 1])

from boards.unix import port  # noqa: E402  # after the path is set

port.collect_often(True)

from boards.unix import board as unix  # noqa: E402


class StandInBoard(unix.UnixBoard):
    """The process as a board that has an image."""

    def image_digest(self) -> "bytes | None":
        """Return what the bench computed over the flash."""
        return bytes.fromhex(sys.argv[2])


unix.UnixBoard = StandInBoard  # type: ignore[misc]  # main() makes the board by this name

if __name__ == "__main__":
    sys.exit(unix.main(sys.argv[:2]))
