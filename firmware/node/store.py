"""Small files that survive a power cut: each is replaced whole or not at all."""

import os

from micropython import const

_ENOENT = const(2)

# A store file is read whole; anything longer is damage, whatever it holds.
MAX_FILE_BYTES = 1024


class Store:
    """Files in one directory.

    Nothing here raises: a node without a store goes on measuring, and a status bit shows it.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.error = 0  # errno of the last failed write; 0: none failed

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None: there is none; ``b""``: unreadable or too long."""
        try:
            with open(self.directory + "/" + name, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            return None if error.errno == _ENOENT else b""
        return data if len(data) <= MAX_FILE_BYTES else b""

    def write(self, name: str, data: bytes | bytearray) -> bool:
        """Replace a file; False if it could not be made durable.

        The bytes are on the medium before the name points at them, and the name is before this
        returns. A cut at any moment leaves the old content or the new one under the name.
        """
        path = self.directory + "/" + name
        try:
            with open(path + ".tmp", "wb") as file:
                if file.write(data) != len(data):
                    raise OSError(28)  # a raw file writes short on a full medium
                _to_medium(file)
            os.rename(path + ".tmp", path)
        except OSError as error:
            self.error = error.errno or -1
            return False
        self._sync_directory()
        return True

    def _sync_directory(self) -> None:
        # POSIX keeps a rename in memory until the directory itself is synced. littlefs and FAT
        # refuse to open a directory; there the rename (or os.sync) is durable by itself.
        try:
            with open(self.directory, "rb") as directory:
                _to_medium(directory)
        except OSError:
            pass
        sync = getattr(os, "sync", None)
        if sync is not None:
            sync()


def _to_medium(file: "object") -> None:
    # MicroPython: flush() of a file is fsync. CPython: it only empties Python's own buffer.
    file.flush()  # type: ignore[attr-defined]  # both runtimes' file classes have it
    fsync = getattr(os, "fsync", None)
    if fsync is not None:
        fsync(file.fileno())  # type: ignore[attr-defined]  # as above
