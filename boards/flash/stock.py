"""One stock MicroPython to a node: the steps of a flash job, with files instead of regions."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from boards import spec as specs
from boards.records import commission_of
from boards.secret import wipe
from firmware.node.commission import NAME, CommissionError
from firmware.node.commission import parse as parse_commission
from firmware.node.identity import KEY_FILE
from protocols.wire.errors import PeerError
from protocols.wire.node_key import parse

from . import stm32_release
from .errors import IMAGE, FlashingError
from .job import Watcher, WrittenRegion
from .key_files import new_key_file
from .methods import esptool, micropython, uf2
from .methods.choice import method_of
from .methods.micropython import PLATFORMS, ReplBoard
from .node_files import compiled, digested, main_file
from .plan import FlashPlan, FoundBoard
from .target import release_target_of

#: Folders of the node on the board; what is in them and belongs to no node is removed.
FOLDERS: Final = ("boards", "firmware", "protocols")
_RESTART_S: Final = 15.0
_LOOK_S: Final = 0.1
STORE: Final = "store"  # as in boards/generic/board.py


class StockJob:
    """The steps, on a board at its REPL. BoardError from every one."""

    verified_by = micropython.VERIFIED_BY

    def __init__(
        self, repl: ReplBoard, board: str, files: Mapping[str, bytes], watcher: Watcher
    ) -> None:
        self._repl = repl
        self._board = board
        self._files = files
        self._watcher = watcher

    def identify(self) -> FoundBoard:
        """Ask which MicroPython it is, and what node is on it."""
        self._watcher.begin("identify")
        found = self._repl.identify()
        role, key_id = "", 0
        try:
            role = parse_commission(self._repl.content_of(f"{STORE}/{NAME}")).role
            content = self._repl.content_of(f"{STORE}/{KEY_FILE}")
            key = parse(content)
            key_id = key.key_id
            wipe(content, key.key)
        except (CommissionError, PeerError):
            pass
        same = all(self._repl.has(name, content) for name, content in self._files.items())
        self._watcher.end(
            f"{self._board}, MicroPython {found.version}, unique id {found.uid}, "
            f"{role or 'no'} node"
        )
        return FoundBoard(found.uid, digested(self._files) if same else b"", role, key_id)

    def write(self, plan: FlashPlan, board: FoundBoard) -> WrittenRegion:
        """Copy the files; the old node's key and main.py go first, so nothing half done starts."""
        self._watcher.begin("copy the files")
        self._repl.remove([f"{STORE}/{NAME}", f"{STORE}/{KEY_FILE}"])
        if board.image != plan.image:
            self._repl.remove(["main.py"])
        self._repl.remove_others(self._files, FOLDERS)
        self._repl.copy(self._files, self._watcher.progress)
        self._watcher.end(f"{len(self._files)} files, each hashed by the board")
        return WrittenRegion("files", 0, sum(map(len, self._files.values())), plan.digest)

    def provision(self, plan: FlashPlan, board: FoundBoard) -> tuple[WrittenRegion, Path]:
        """Make a key, store it here, then give it to the board; return its file."""
        path = new_key_file(plan, board)
        reached = False
        key = b""
        try:
            key = path.read_bytes()
            records = {
                f"{STORE}/{KEY_FILE}": key,
                f"{STORE}/{NAME}": commission_of(plan.role, plan.settings, board.uid),
            }
            self._watcher.begin("write the records")
            reached = True
            self._repl.copy(records, self._watcher.progress)
            self._watcher.end("hashed by the board")
        finally:
            wipe(key)
            if not reached:
                path.unlink(missing_ok=True)
        digest = self._repl.hash_of(f"{STORE}/{NAME}").hex()
        return WrittenRegion("commission", 0, len(records[f"{STORE}/{NAME}"]), digest), path

    def unlock(self) -> None:
        """Do nothing: a MicroPython that answers is not protected."""

    def start(self) -> None:
        """Reset the board, which runs main.py."""
        self._repl.reset()


@contextmanager
def stock_job(board: str, port: str, watcher: Watcher) -> Iterator[tuple[StockJob, bytes]]:
    """Yield the job for a stock board at ``port``, and the content that its digest is of."""
    spec = specs.load(board)
    files = {**compiled(), "main.py": main_file(board)}
    with ReplBoard(port, PLATFORMS.get(spec.board.port, "")) as repl:
        yield StockJob(repl, board, files, watcher), digested(files)


def write_firmware(
    board: str, file: Path, port: str, volume: str, watcher: Watcher, unlock: bool = False
) -> tuple[str, str]:
    """Write a release of MicroPython to a board that has none; return its SHA-256, how verified.

    ``port`` is where its REPL will be. ``unlock``: erase a chip that is protected. BoardError.
    """
    spec = specs.load(board)
    method = spec.flash.method
    try:
        content = file.read_bytes()
    except OSError as error:
        raise FlashingError(IMAGE, f"{file}: {error.strerror}") from error
    watcher.begin("write MicroPython")
    if method == "uf2":
        uf2.check(content, spec.board.mcu)
        uf2.write(uf2.chosen(volume, uf2.volumes()), content, watcher.progress)
        how = uf2.VERIFIED_BY
    elif method == "esptool":
        esptool.write(port, content)
        how = esptool.VERIFIED_BY
    else:
        target = release_target_of(board)
        regions = stm32_release.regions_of(content, target, spec.board.mcu)
        with method_of(method, target, "", 0) as way:
            stm32_release.write(way, target, regions, watcher, unlock)
            how = way.verified_by
        watcher.begin("start MicroPython")
    if method != "esptool":
        _wait_for(Path(port))
    watcher.end(f"verified by {how}")
    return hashlib.sha256(content).hexdigest(), how


def _wait_for(port: Path) -> None:
    """Wait until the board that has restarted shows its REPL; if it never does, opening fails."""
    end = time.monotonic() + _RESTART_S
    while not port.exists() and time.monotonic() < end:
        time.sleep(_LOOK_S)
