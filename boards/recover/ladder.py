"""The ladder on which a board is brought back: each rung is stronger than the one before.

A soft reset over the bus, the console, the watchdog, the chip without its firmware, and a new
flash, both by the way that the board is flashed. It ends at the first rung after which the node
runs; what each did is kept for the report.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Protocol, Self

from boards import spec as specs
from boards.configure import restart
from boards.errors import BoardError
from boards.flash.job import Watcher
from boards.flash.methods.choice import method_of
from boards.flash.methods.uart import UartMethod
from boards.flash.serial_port import open_line
from boards.flash.target import target_of
from boards.node_line import NodeLine, NodeLineError
from boards.probe.findings import FoundLoader
from boards.probe.look import CONSOLE_BAUD, chip_by, loader_at
from firmware.node.identity import NodeKey

_INTERRUPT: Final = b"\r\x03\x03\x02"  # Ctrl-C twice, and out of the raw mode of a tool
_SOFT_RESET: Final = b"\x04"
_HANG: Final = b"while True: pass\r\r\r"
_PROMPT: Final = b">>> "
_KEPT: Final = 65536  # bytes of a console
_LOOK_S: Final = 0.2


class RungFailed(BoardError):
    """A rung did not bring the node back; the text has what was seen."""


class Hands(Protocol):
    """The person at the board."""

    def asked(self, text: str) -> None:
        """Ask for something to be done, and return when it is done."""


@dataclass(frozen=True, slots=True)
class RungResult:
    """What a rung did."""

    rung: str
    works: bool
    text: str


@dataclass(frozen=True, slots=True)
class RecoverPlan:
    """What there is to recover with. A limit is how long a rung waits for the node, in seconds."""

    board: str
    port: str  # of the console, which is that of the bootloader too
    bus_port: str | None = None
    unit: int = 1
    baud: int = 9600
    key: NodeKey | None = None
    method: str = ""  # of boards/flash/methods; empty: that of the board
    prompt_s: float = 3.0
    boot_s: float = 20.0
    watchdog_s: float = 40.0  # the node's is 26 s


@dataclass(frozen=True, slots=True)
class WayIn:
    """How the chip is reached without its firmware: the rung's name, what to do before each."""

    rung: str
    reach: str
    again: str  # before it is flashed; empty: nothing


_BOOT0_STAYS: Final = "leave BOOT0 high (3.3 V), press reset"
WAYS: Final = {
    "uart": WayIn("bootloader in the ROM", "set BOOT0 high (3.3 V), press reset", _BOOT0_STAYS),
    "dfu": WayIn(
        "USB bootloader in the ROM",
        "set BOOT0 high (3.3 V), connect USB, press reset",
        _BOOT0_STAYS,
    ),
    "swd": WayIn("ST-LINK", "connect the ST-LINK to SWDIO, SWCLK and GND, set BOOT0 low", ""),
}

Rung = tuple[str, Callable[[], str]]


class Ladder:
    """The rungs of one board. ``flash`` does the last one; it returns a text or raises."""

    def __init__(
        self,
        plan: RecoverPlan,
        hands: Hands,
        watcher: Watcher,
        flash: Callable[[FoundLoader | None], str],
    ) -> None:
        self._plan = plan
        self._hands = hands
        self._watcher = watcher
        self._flash = flash
        self._found: FoundLoader | None = None
        self._spec = specs.load(plan.board)
        self._way = plan.method or self._spec.flash.method

    @property
    def rungs(self) -> Sequence[Rung]:
        """The rungs, the mildest first."""
        return (
            ("soft reset over the bus", self.bus),
            ("restart from the console", self.console),
            ("watchdog", self.watchdog),
            (WAYS.get(self._way, WAYS["uart"]).rung, self.chip),
            ("flash anew", self.flash),
        )

    def climb(self, done: Callable[[RungResult], None]) -> bool:
        """Try rung after rung until the node runs; return whether it does."""
        for name, rung in self.rungs:
            self._watcher.begin(name)
            try:
                result = RungResult(name, True, rung())
            except BoardError as error:
                result = RungResult(name, False, str(error))
            done(result)
            if result.works:
                return True
        return False

    def bus(self) -> str:
        """Command a restart over the bus; the node is back when its boot epoch has risen."""
        plan = self._plan
        if plan.bus_port is None:
            raise RungFailed("not tried: name the port of its bus with --bus-port")
        with NodeLine(plan.bus_port, plan.unit, plan.baud) as line:
            identity = line.identity()
            before = line.sample(identity.map)[1].header.boot_epoch
            restart(line, identity, plan.key)
            end = time.monotonic() + plan.boot_s
            while time.monotonic() < end:
                try:
                    header = line.sample(identity.map)[1].header
                except NodeLineError:
                    continue
                if header.boot_epoch != before and header.seq:
                    return f"the node restarted and samples, boot {header.boot_epoch}"
                time.sleep(_LOOK_S)
        raise RungFailed(f"no sample of a new boot within {plan.boot_s:g} s")

    def console(self) -> str:
        """Stop the application with Ctrl-C and let the interpreter begin anew."""
        with _ConsolePort(self._plan.port) as console:
            console.prompt(self._plan.prompt_s)
            console.write(_SOFT_RESET)
            return console.boot(self._plan.boot_s)

    def watchdog(self) -> str:
        """Keep the processor busy if there is a prompt, and wait until the watchdog resets it."""
        with _ConsolePort(self._plan.port) as console:
            try:
                console.prompt(self._plan.prompt_s)
            except RungFailed:
                pass  # it hangs already: the watchdog runs
            else:
                console.write(_HANG)
            return console.boot(self._plan.watchdog_s)

    def chip(self) -> str:
        """Reach the chip without its firmware, and start what is on it."""
        plan = self._plan
        if not self._spec.has_image:
            way = self._spec.flash
            raise RungFailed(
                f"not tried: the files of a {plan.board} go over its console; if no MicroPython "
                f"answers there, {way.enter or 'reach its bootloader'} and type "
                f"`tianfu-node flash --board {plan.board} --firmware FILE` ({way.method})"
            )
        found = self._found_chip()
        about = "; ".join(found.lines())
        if plan.board not in found.boards:
            raise RungFailed(f"another board than {plan.board}: {about}")
        self._found = found
        if not found.image or not found.role:
            raise RungFailed(f"{about}. It holds nothing that could run")
        with ExitStack() as stack:
            if self._way == UartMethod.name:  # the bootloader and the console share the port
                self._start()
                console = stack.enter_context(_ConsolePort(plan.port))
            else:
                console = stack.enter_context(_ConsolePort(plan.port))
                self._start()
            try:
                return console.boot(plan.boot_s)
            except RungFailed as error:
                raise RungFailed(f"{about}. Started, but {error}") from error

    def _start(self) -> None:
        target = target_of(self._plan.board)
        with method_of(self._way, target, self.place, CONSOLE_BAUD) as method:
            method.start(target.image_at)

    @property
    def place(self) -> str:
        """Return the port of the way in; the only board or probe there is where it has none."""
        is_serial = self._way == UartMethod.name or not self._spec.has_image
        return self._plan.port if is_serial else ""

    def _found_chip(self) -> FoundLoader:
        plan = self._plan
        if self._way not in WAYS:
            raise RungFailed(f"not tried: expected one of {', '.join(WAYS)}, got {self._way}")
        self._hands.asked(WAYS[self._way].reach)
        if self._way != UartMethod.name:
            return chip_by(self._way, plan.board, self.place, self._watcher)
        found = loader_at(plan.port, CONSOLE_BAUD, self._watcher)
        if found is None:
            raise RungFailed("no bootloader answers: check BOOT0, reset, RX, TX and power")
        return found

    def flash(self) -> str:
        """Flash the board anew, if it was reached; a stock board's files need its console alone."""
        if self._spec.has_image:
            if self._found is None:
                raise RungFailed("not tried: no bootloader of that board answered")
            if WAYS[self._way].again:
                self._hands.asked(WAYS[self._way].again)
        return self._flash(self._found)


class _ConsolePort:
    """The console's port, and what came from it since."""

    def __init__(self, port: str) -> None:
        self._path = port
        self._serial = open_line(port, CONSOLE_BAUD, 0.02)
        self._came = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._serial.close()

    def write(self, data: bytes) -> None:
        """Type."""
        self._came = b""
        try:
            self._serial.write(data)
        except OSError as error:
            raise RungFailed(f"{self._path}: the port failed: {error}") from error

    def prompt(self, limit_s: float) -> None:
        """Type Ctrl-C until there is a prompt."""
        self.write(_INTERRUPT)
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            self._read()
            if self._came.endswith(_PROMPT):
                return
        raise RungFailed(f"no prompt within {limit_s:g} s after Ctrl-C, {self._quoted()}")

    def boot(self, limit_s: float) -> str:
        """Wait for the line that a node prints when it runs."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            self._read()
            for line in self._came.split(b"\n")[:-1]:
                fields = _object(line)
                if "error" in fields:
                    raise RungFailed(f"the firmware starts and stops: {fields['error']}")
                if "boot_epoch" in fields and "role" in fields:
                    return f"the {fields['role']} node runs, boot {fields['boot_epoch']}"
        raise RungFailed(f"no boot line within {limit_s:g} s, {self._quoted()}")

    def _read(self) -> None:
        try:
            data = self._serial.read(max(1, self._serial.in_waiting))
        except OSError as error:
            raise RungFailed(f"{self._path}: the port failed: {error}") from error
        self._came = (self._came + data)[-_KEPT:]

    def _quoted(self) -> str:
        last = self._came[-60:].decode("ascii", "replace").strip()
        return f"the console printed {last!r}" if last else "the console printed nothing"


def _object(line: bytes) -> dict[str, object]:
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
