"""Several boards side by side: a lane is a place on USB with a board's two ports.

Each lane is a thread that waits for a bootloader, flashes, and waits for the next board. What
lanes share is in :class:`_Shared`: which addresses and unique ids are in use, how many boards are
proven, and whether to stop. An address is a board's own once it is proven; a board that fails gives
it back.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Protocol

from boards import build as images
from boards.errors import BoardError
from boards.ports import PortInfo

from .detect import loader_at, next_unit
from .errors import BATCH_STOPPED, TWINS, FlashingError
from .job import Watcher
from .methods.choice import loader_answers
from .methods.dfu import DfuMethod
from .run import FlashReport, FlashRequest, flash

_LOOK_S: Final = 0.3
_PER_LANE: Final = 2  # ports: the bootloader's and the bus


@dataclass(frozen=True, slots=True)
class FlashLane:
    """A place for a board. ``ports`` are (bootloader, bus), or as they come if ``either``."""

    place: str
    ports: tuple[PortInfo, PortInfo]
    either: bool


@dataclass(frozen=True, slots=True)
class LaneResult:
    """One board on a lane: its report, or the error with its code ("" of one without)."""

    lane: str
    uid: str
    unit: int
    report: FlashReport | None
    code: str
    error: str
    seconds: float


class LaneWatcher(Watcher, Protocol):
    """Who is shown one lane."""

    def wait(self, text: str) -> None:
        """Take what the lane waits for."""

    def done(self, result: LaneResult) -> None:
        """Take how a board ended."""


def lanes_of(ports: Sequence[PortInfo]) -> list[FlashLane]:
    """Return the lanes of a bench: the two ports of one adapter, or of one hub. BoardError."""
    by_device: dict[str, list[PortInfo]] = defaultdict(list)
    for port in ports:
        if port.place:
            by_device[port.place].append(port)
    by_hub: dict[str, list[PortInfo]] = defaultdict(list)
    lanes = []
    for place, found in by_device.items():
        if len(found) == _PER_LANE:
            lanes.append(FlashLane(place, (found[0], found[1]), either=True))
        else:
            by_hub[place.rpartition(".")[0] or place].extend(found)
    for place, found in by_hub.items():
        if len(found) == _PER_LANE:
            lanes.append(FlashLane(place, (found[0], found[1]), either=True))
        elif found:
            paths = ", ".join(port.path for port in found)
            raise BoardError(
                f"--lanes auto: expected two ports at the hub {place}, one of the bootloader and "
                f"one of the bus, got {len(found)}: {paths}; name the pairs with --lanes "
                "BOOTLOADER=BUS,..."
            )
    if not lanes:
        raise BoardError("--lanes auto: expected adapters on USB, got none")
    return sorted(lanes, key=lambda lane: lane.place)


def named_lanes(text: str) -> list[FlashLane]:
    """Return the lanes of ``BOOTLOADER=BUS,...``. BoardError."""
    lanes = []
    for number, pair in enumerate(text.split(","), 1):
        boot, mark, bus = pair.partition("=")
        if not (boot and mark and bus):
            raise BoardError(f"--lanes: expected auto or BOOTLOADER=BUS,..., got {pair!r}")
        both = (PortInfo(boot, "", "", "", "", "", ()), PortInfo(bus, "", "", "", "", "", ()))
        lanes.append(FlashLane(str(number), both, either=False))
    used = sorted(port.path for lane in lanes for port in lane.ports)
    if any(left == right for left, right in pairwise(used)):
        raise BoardError(f"--lanes: expected each port once, got {text}")
    return lanes


def flash_lanes(
    request: FlashRequest,
    first_unit: int,
    count: int,
    lanes: Sequence[FlashLane],
    watcher_of: Callable[[FlashLane], LaneWatcher],
    stop: threading.Event,
) -> int:
    """Flash boards until ``count`` have proven themselves; return how many have.

    ``request`` is that of each board but for ports, lane and address. BATCH_STOPPED if two boards
    in a row failed with one code; ``stop`` ends it after the boards that are being flashed.
    """
    if request.image is None:  # once, not in each lane
        request = replace(request, image=images.build(request.board).bin)
    shared = _Shared(request, first_unit, count, stop)
    threads = [
        threading.Thread(target=_Lane(lane, shared, watcher_of(lane)).run, daemon=True)
        for lane in lanes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(_LOOK_S)
    if shared.crash is not None:
        raise shared.crash
    if shared.problem:
        raise FlashingError(BATCH_STOPPED, shared.problem)
    return shared.proven


class _Shared:
    """What the lanes have in common."""

    def __init__(
        self, request: FlashRequest, first_unit: int, count: int, stop: threading.Event
    ) -> None:
        self.request = request
        self.stop = stop
        self.proven = 0
        self.problem = ""
        self.crash: BaseException | None = None
        self._first_unit = first_unit
        self._count = count
        self._lock = threading.Lock()
        self._running = 0
        self._units: set[int] = set()
        self._uids: dict[str, str] = {}  # the lane of each board that is proven or in work
        self._last_code = ""

    def is_over(self) -> bool:
        """Whether no lane needs another board."""
        return self.stop.is_set() or self.proven >= self._count

    def take(self) -> int | None:
        """Return the address for one more board; None: as many as are wanted are in work."""
        with self._lock:
            if self.proven + self._running >= self._count:
                return None
            unit = next_unit(self.request.log, self._units, self._first_unit)
            self._units.add(unit)
            self._running += 1
            return unit

    def allow(self, uid: str, lane: str) -> None:
        """Take that a board is in work. TWINS."""
        with self._lock:
            other = self._uids.get(uid)
            if other is not None:
                raise FlashingError(
                    TWINS,
                    f"the board on lane {lane} has the unique id {uid} of one on lane {other} of "
                    "this batch",
                )
            self._uids[uid] = lane

    def end(self, result: LaneResult, held: bool) -> None:
        """Take how a board ended; ``held``: its unique id was its own."""
        with self._lock:
            self._running -= 1
            if result.report is not None:
                self.proven += 1
                self._last_code = ""
                return
            self._units.discard(result.unit)
            if held:
                self._uids.pop(result.uid, None)
            code = result.code or result.error
            if code == self._last_code and not self.problem:
                self.problem = f"lane {result.lane}: {result.error}"
                self.stop.set()
            self._last_code = code


class _Lane:
    """The work of one lane."""

    def __init__(self, lane: FlashLane, shared: _Shared, watcher: LaneWatcher) -> None:
        self._lane = lane
        self._shared = shared
        self._watcher = watcher
        self._uid = ""
        self._held = False

    def run(self) -> None:
        """Flash one board after the other; an error that is ours ends the batch."""
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - raised again by who started it
            self._shared.crash = error
            self._shared.stop.set()

    def _run(self) -> None:
        while not self._shared.is_over():
            self._watcher.wait("a board with BOOT0 high")
            ports = self._wait_for_board()
            if ports is None:
                continue
            try:
                unit = self._shared.take()
            except BoardError as error:  # no address is left
                self._shared.problem = str(error)
                self._shared.stop.set()
                return
            if unit is None:
                time.sleep(_LOOK_S)
                continue
            if not self._one(ports, unit):
                self._watcher.wait("the failed board to be taken away")
                self._wait_until_gone(ports[0])
            # A proven board runs its image: what answers as a bootloader is the next one.

    def _one(self, ports: tuple[PortInfo, PortInfo], unit: int) -> bool:
        begun = time.monotonic()
        self._uid, self._held = "", False
        request = self._shared.request
        request = replace(
            request,
            port=ports[0].path,
            bus_port=ports[1].path,
            settings={**request.settings, "unit_id": unit},
            lane=self._lane.place,
        )
        report, code, text = None, "", ""
        try:
            report = flash(request, self._watcher, self._allow)
        except FlashingError as error:
            code, text = error.fault.code, str(error)
        except BoardError as error:
            text = str(error)
        seconds = time.monotonic() - begun
        result = LaneResult(self._lane.place, self._uid, unit, report, code, text, seconds)
        self._shared.end(result, self._held)
        self._watcher.done(result)
        return report is not None

    def _allow(self, uid: str) -> None:
        self._uid = uid
        self._shared.allow(uid, self._lane.place)
        self._held = True

    def _wait_for_board(self) -> tuple[PortInfo, PortInfo] | None:
        first, second = self._lane.ports
        orders = [(first, second), (second, first)] if self._lane.either else [(first, second)]
        while not self._shared.is_over():
            for boot, bus in orders:
                if self._waits(boot):
                    return boot, bus
            self._shared.stop.wait(_LOOK_S)
        return None

    def _wait_until_gone(self, port: PortInfo) -> None:
        while not self._shared.is_over() and self._waits(port):
            self._shared.stop.wait(_LOOK_S)

    def _waits(self, port: PortInfo) -> bool:
        request = self._shared.request
        if request.method != DfuMethod.name:
            return loader_at(port, request.baud).chip_id is not None
        try:
            return loader_answers(DfuMethod.name, port.path, request.baud)
        except BoardError:
            return False
