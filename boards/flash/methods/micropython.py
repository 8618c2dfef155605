"""The way into a board whose MicroPython is there: files over its REPL, hashed on the board.

The transport is mpremote's. A file counts as written once the board has read it back and its
SHA-256 is that of what was sent.
"""

import ast
import hashlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

import serial
from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from boards.flash.errors import (
    MISMATCH,
    NO_REPL,
    OTHER_MICROPYTHON,
    REPL_FAILED,
    WRONG_PORT,
    FlashingError,
)
from boards.flash.method import Progress
from boards.flash.node_files import MPY_VERSION
from boards.flash.serial_port import port_error

VERIFIED_BY: Final = "SHA-256 of each file, computed on the board from its file system"
#: sys.platform of each port of MicroPython.
PLATFORMS: Final[Mapping[str, str]] = {"stm32": "pyboard", "rp2": "rp2", "esp32": "esp32"}
_ASK: Final = (
    "import sys, os, machine, gc\ngc.collect()\n"
    "print((sys.platform, sys.version, getattr(sys.implementation, '_mpy', 0) & 255, "
    "machine.unique_id(), os.getcwd(), gc.mem_free()))"
)
_UID_BYTES: Final = 12
_REPL_S: Final = 5.0


class ReplIdentity(NamedTuple):
    """What a MicroPython answers: ``uid`` is 24 hex digits, ``folder`` where it begins."""

    platform: str
    version: str
    mpy: int
    uid: str
    folder: str
    heap_free: int


class ReplBoard:
    """A board at its REPL; used in a ``with`` block. BoardError from every method."""

    def __init__(self, port: str, platform: str = "", baud: int = 115200) -> None:
        self.port = port
        self._platform = platform
        self._baud = baud
        self.folder = ""

    def __enter__(self) -> Self:
        try:
            self._transport = SerialTransport(self.port, self._baud, timeout=1.0)
        except (TransportError, OSError) as error:
            raise port_error(self.port, _reason(self.port, error)) from error
        try:
            self._transport.enter_raw_repl(False, _REPL_S)
        except (TransportError, OSError) as error:
            self._transport.close()
            raise FlashingError(NO_REPL, f"{self.port}: {error}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transport.close()

    def identify(self) -> ReplIdentity:
        """Ask what MicroPython it is. WRONG_PORT, OTHER_MICROPYTHON: nothing was written."""
        answer = self._exec(_ASK).strip()
        try:
            platform, version, mpy, uid, folder, free = ast.literal_eval(answer)
            found = ReplIdentity(
                platform,
                version,
                mpy,
                uid[:_UID_BYTES].ljust(_UID_BYTES, b"\0").hex(),
                folder,
                free,
            )
        except (ValueError, SyntaxError, TypeError) as error:
            raise FlashingError(REPL_FAILED, f"{self.port}: {answer[-200:]!r}") from error
        if self._platform not in ("", found.platform):
            raise FlashingError(
                WRONG_PORT,
                f"{self.port}: expected MicroPython for {self._platform}, found {found.platform}; "
                "nothing was written",
            )
        if found.mpy != MPY_VERSION:
            raise FlashingError(
                OTHER_MICROPYTHON,
                f"{self.port}: expected bytecode {MPY_VERSION}, found {found.mpy} "
                f"({found.version}); nothing was written",
            )
        self.folder = found.folder.rstrip("/")
        return found

    def copy(self, files: Mapping[str, bytes], progress: Progress) -> None:
        """Write what is not there yet, main.py last, and let the board hash each file. MISMATCH."""
        total = sum(map(len, files.values()))
        done = 0
        made: set[str] = set()
        for name in sorted(files, key=lambda each: (each == "main.py", each)):
            content = files[name]
            self._make_folders(name, made)
            if self.hash_of(name) != hashlib.sha256(content).digest():
                self._write(name, content)
                got = self.hash_of(name)
                if got != hashlib.sha256(content).digest():
                    raise FlashingError(
                        MISMATCH,
                        f"{name}: expected SHA-256 {hashlib.sha256(content).hexdigest()}, the "
                        f"board has {got.hex() or 'no such file'}",
                    )
            done += len(content)
            progress(done, total)

    def remove_others(self, files: Mapping[str, bytes], folders: tuple[str, ...]) -> list[str]:
        """Remove files of an older node that are not among ``files``; return their names."""
        removed: list[str] = []
        waiting = list(folders)
        while waiting:
            folder = waiting.pop()
            try:
                entries = self._transport.fs_listdir(self._path(folder))
            except (TransportError, OSError):
                continue
            for entry in entries:
                name = f"{folder}/{entry.name}"
                if entry.st_mode & 0x4000:
                    waiting.append(name)
                elif name not in files:
                    self._transport.fs_rmfile(self._path(name))
                    removed.append(name)
        return removed

    def has(self, name: str, content: bytes) -> bool:
        """Return whether the board has this content under this name."""
        return self.hash_of(name) == hashlib.sha256(content).digest()

    def content_of(self, name: str) -> bytes:
        """Return the content of a file; empty: there is none."""
        try:
            return bytes(self._transport.fs_readfile(self._path(name)))
        except OSError:
            return b""
        except TransportError as error:
            raise FlashingError(REPL_FAILED, f"{self.port}: {name}: {error}") from error

    def remove(self, names: Sequence[str]) -> None:
        """Remove files; one that is not there is as good as removed."""
        for name in names:
            try:
                self._transport.fs_rmfile(self._path(name))
            except OSError:
                continue
            except TransportError as error:
                raise FlashingError(REPL_FAILED, f"{self.port}: {name}: {error}") from error

    def hash_of(self, name: str) -> bytes:
        """Return the SHA-256 that the board computes over a file; empty: there is none."""
        try:
            return bytes(self._transport.fs_hashfile(self._path(name), "sha256"))
        except OSError:
            return b""
        except TransportError as error:
            raise FlashingError(REPL_FAILED, f"{self.port}: {name}: {error}") from error

    def start(self) -> None:
        """Run main.py, as the board does after a reset; the REPL is left."""
        self.command(f"import os, sys\nos.chdir({self.folder or '/'!r})\nsys.path[0] = ''")
        try:
            self._transport.exec_raw_no_follow("exec(open('main.py').read())")
        except (TransportError, OSError) as error:
            raise FlashingError(REPL_FAILED, f"{self.port}: {error}") from error

    def reset(self) -> None:
        """Reset the board, which then runs main.py by itself."""
        try:
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
        except (TransportError, OSError) as error:
            raise FlashingError(REPL_FAILED, f"{self.port}: {error}") from error

    def command(self, code: str) -> str:
        """Run code on the board and return what it printed."""
        return self._exec(code)

    def _make_folders(self, name: str, made: set[str]) -> None:
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder not in made:
                made.add(folder)
                try:
                    self._transport.fs_mkdir(self._path(folder))
                except OSError:  # there already; if not, the file shows it
                    pass
                except TransportError as error:
                    raise FlashingError(REPL_FAILED, f"{self.port}: {error}") from error

    def _write(self, name: str, content: bytes) -> None:
        try:
            self._transport.fs_writefile(self._path(name), content)
        except (TransportError, OSError) as error:
            raise FlashingError(REPL_FAILED, f"{self.port}: {name}: {error}") from error

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def _exec(self, code: str) -> str:
        try:
            return bytes(self._transport.exec(code)).decode("utf-8", "replace")
        except (TransportError, OSError) as error:
            raise FlashingError(REPL_FAILED, f"{self.port}: {error}") from error


def _reason(port: str, error: Exception) -> Exception:
    """Return why a port cannot be opened; mpremote does not pass on what the system answered."""
    try:
        serial.serial_for_url(port, exclusive=True).close()
    except OSError as reason:  # SerialException is an OSError
        return reason
    return error
