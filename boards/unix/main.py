"""A node as a process: ``micropython boards/unix/main.py NODE.json`` (see :mod:`.node_file`)."""

import sys

# Started by path, from anywhere: the tree that holds this file is three names up.
_parts = __file__.rsplit("/", 3)
sys.path.insert(0, _parts[0] if len(_parts) > 3 else ("../..", "..", ".")[len(_parts) - 1])

from boards.unix import port  # noqa: E402  # after the path is set

port.collect_often(True)

from boards.unix.board import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv))
