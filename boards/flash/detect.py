"""What a flash needs and nobody named: found by asking the ports, else by asking the technician.

Only ports on USB are looked at. A port with a bootloader is found by waking it; if none has one, a
board may wait in its USB bootloader. A blank board's bus answers nobody, so the bus is what is left
over. Without somebody to ask, what is missing is named option by option.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from boards import spec as specs
from boards.errors import BoardError
from boards.ports import PortInfo
from protocols.wire.registers import MAPS

from . import station_log
from .an3155 import connected
from .errors import NO_ADDRESS, NO_LOADER, SILENT, FlashingError
from .methods.choice import PLACES, Reachable
from .target import chip_name

ROLES: Final = tuple(each.role for each in MAPS)
_LAST_UNIT: Final = 247


class Technician(Protocol):
    """Somebody who answers questions."""

    def choose(self, question: str, choices: Sequence[str]) -> str:
        """Return one of the choices."""

    def number(self, question: str, default: int) -> int:
        """Return a number."""


class MissingOptions(BoardError):
    """Options that nobody named, and that nobody is there to ask for."""


@dataclass(frozen=True, slots=True)
class FlashWish:
    """The options of a flash; None: not named."""

    port: str | None
    bus_port: str | None
    role: str | None
    unit: int | None
    board: str | None
    needs_bus: bool
    method: str = ""  # of boards/flash/methods; empty: that of the board


@dataclass(frozen=True, slots=True)
class FoundPort:
    """A port with the chip of the bootloader that answers there; None: none answers."""

    port: PortInfo
    chip_id: int | None
    problem: str = ""


def completed(
    wish: FlashWish,
    log: Path,
    baud: int,
    ports: Callable[[], Iterable[PortInfo]],
    technician: Technician | None,
    show: Callable[[str], None],
) -> FlashWish:
    """Return the wish with everything named. BoardError; MissingOptions without a technician."""
    missing: list[str] = []
    if wish.port is None and wish.method in PLACES:
        wish = replace(wish, port=_place(PLACES[wish.method](), technician, missing))
    if wish.port is None or (wish.bus_port is None and wish.needs_bus):
        named = (wish.port, wish.bus_port)
        asks = wish.port is None and wish.method not in PLACES
        found = [
            loader_at(each, baud) if asks else FoundPort(each, None)
            for each in ports()
            if each.place and each.path not in named and each.lasting not in named
        ]
        if asks:
            loaders = [each for each in found if each.chip_id is not None]
            usb = [] if loaders or wish.method else _waiting_on_usb()
            if usb:
                method, port, chip_id = "dfu", _place(usb, technician, missing), None
            else:
                port, chip_id = _loader(loaders, found, technician, missing)
                method = wish.method
            found = [each for each in found if each.port.path != port]
            board = wish.board or _board_with(chip_id)
            wish = replace(wish, port=port, board=board, method=method)
        if wish.bus_port is None and wish.needs_bus:
            wish = replace(wish, bus_port=_bus(found, technician, missing))
    if wish.role is None:
        if technician is None:
            missing.append(f"--role: expected one of {', '.join(ROLES)}")
        else:
            wish = replace(wish, role=technician.choose("Role of the node", ROLES))
    if wish.unit is None:
        free = next_unit(log)
        if technician is None:
            missing.append(f"--unit: expected the node's address; the next free one is {free}")
        else:
            wish = replace(wish, unit=technician.number("Address of the node", free))
    if missing:
        raise MissingOptions("there is no terminal to ask at, so name\n  " + "\n  ".join(missing))
    bus = f", its bus is at {wish.bus_port}" if wish.needs_bus else ""
    place = wish.port or f"the only place where {wish.method} finds one"
    show(f"{wish.role} node {wish.unit} on the board at {place}{bus}")
    return wish


def _place(
    places: Sequence[Reachable], technician: Technician | None, missing: list[str]
) -> str | None:
    """Return where the board is; empty if there is none: opening it says why."""
    if len(places) < 2:
        return places[0].port if places else ""
    if technician is None:
        missing.append(f"--port: expected one of {', '.join(each.text for each in places)}")
        return None
    names = {each.text: each.port for each in places}
    return names[technician.choose("Which board", list(names))]


def _waiting_on_usb() -> Sequence[Reachable]:
    """Return the boards in their USB bootloader; none if `dfu-util` is not there to ask."""
    try:
        return PLACES["dfu"]()
    except BoardError:
        return []


def loader_at(port: PortInfo, baud: int) -> FoundPort:
    """Ask a port for a bootloader, with the byte that it waits for; it never fails."""
    if port.users:
        return FoundPort(port, None, f"opened by {', '.join(map(str, port.users))}")
    try:
        opened, loader = connected(port.path, baud, wakes=1)
        with opened:
            return FoundPort(port, loader.chip_id())
    except FlashingError as error:
        answers_not = error.fault in (SILENT, NO_LOADER)
        return FoundPort(port, None, "" if answers_not else str(error))


def next_unit(log: Path, taken: Iterable[int] = (), first: int = 1) -> int:
    """Return the lowest address from ``first`` on that is neither taken nor that of a proven node
    in the station log. BoardError.
    """
    units: dict[object, object] = {}
    for line in station_log.entries(log):
        if line.get("event") == "proven":
            units[line.get("uid")] = line.get("unit")
    used = {*units.values(), *taken}
    for unit in range(first, _LAST_UNIT + 1):
        if unit not in used:
            return unit
    raise FlashingError(NO_ADDRESS, f"{log}: addresses {first} to {_LAST_UNIT} are used")


def _loader(
    loaders: Sequence[FoundPort],
    found: Sequence[FoundPort],
    technician: Technician | None,
    missing: list[str],
) -> tuple[str | None, int | None]:
    if not loaders:
        looked = "; ".join(
            f"{each.port.path}: {each.problem or 'no bootloader answers'}" for each in found
        )
        raise FlashingError(SILENT, f"expected a board at one of the ports, got {looked or 'none'}")
    if len(loaders) == 1:
        return loaders[0].port.path, loaders[0].chip_id
    if technician is None:
        missing.append(f"--port: expected one; bootloaders answer at {_listed(loaders)}")
        return None, None
    names = {_named(each): each for each in loaders}
    chosen = names[technician.choose("Which board", list(names))]
    return chosen.port.path, chosen.chip_id


def _bus(
    found: Sequence[FoundPort], technician: Technician | None, missing: list[str]
) -> str | None:
    free = [each for each in found if each.chip_id is None and not each.problem]
    if len(free) == 1:
        return free[0].port.path
    if technician is None or not free:
        missing.append(
            f"--bus-port: expected the node's bus, where it proves itself; free are {_listed(free)}"
        )
        if technician is not None:
            raise MissingOptions(missing.pop())
        return None
    names = {_named(each): each for each in free}
    return names[technician.choose("Which port is the node's bus", list(names))].port.path


def _board_with(chip_id: int | None) -> str | None:
    if chip_id is None:
        return None
    roms = {name: specs.load(name).flash.rom for name in specs.names()}
    boards = [name for name, rom in roms.items() if rom is not None and rom.chip_id == chip_id]
    if not boards:
        raise BoardError(
            f"expected a board of `tianfu-node boards`, got one with {chip_name(chip_id)}; name "
            "what it is with --board"
        )
    return boards[0] if len(boards) == 1 else None


def _listed(found: Sequence[FoundPort]) -> str:
    return ", ".join(map(_named, found)) or "none"


def _named(found: FoundPort) -> str:
    place = f" (USB {found.port.place} {found.port.adapter})" if found.port.place else ""
    return found.port.path + place
