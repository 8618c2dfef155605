"""What nobody named is found at the ports, asked for, or named as missing."""

import os
import pty
import tty
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from boards.errors import BoardError
from boards.flash import station_log
from boards.flash.detect import FlashWish, MissingOptions, completed, next_unit
from boards.flash.errors import FlashingError
from boards.folder import default_name
from boards.ports import PortInfo
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom

NOTHING = FlashWish(None, None, None, None, None, needs_bus=True)


class Answers:
    """Answers with the last choice, and with the proposed number."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def choose(self, question: str, choices: Sequence[str]) -> str:
        self.asked.append(f"{question}: {', '.join(choices)}")
        return choices[-1]

    def number(self, question: str, default: int) -> int:
        self.asked.append(f"{question}: {default}")
        return default


def info(path: object, place: str = "") -> PortInfo:
    return PortInfo(str(path), place, "adapter", "", "", "", ())


@contextmanager
def ports(folder: Path, boards: int, others: int, chip_id: int = 0x413) -> Iterator[list[PortInfo]]:
    """So many boards in their bootloader, and ports where nothing answers."""
    with ExitStack() as stack:
        found = []
        for number in range(boards):
            (place := folder / str(number)).mkdir()
            rom = BootRom(bytes([number] * 12), chip_id=chip_id)
            board = stack.enter_context(BootRomBoard(rom, place))
            found.append(info(board.port, f"1-{number + 1}"))
        for _ in range(others):
            near, far = pty.openpty()
            tty.setraw(far)
            stack.callback(os.close, near)
            stack.callback(os.close, far)
            found.append(info(os.ttyname(far), f"2-{len(found)}"))
        yield found


def proven(log: Path, uid: str, unit: int) -> None:
    station_log.append(log, {"event": "proven", "uid": uid, "unit": unit})


def test_one_board_and_one_bus_are_found_and_the_rest_is_asked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    proven(log, "aa", 1)
    proven(log, "bb", 2)
    technician, shown = Answers(), list[str]()
    with ports(tmp_path, 1, 1) as found:
        wish = completed(NOTHING, log, 115200, lambda: found, technician, shown.append)
    board, bus = (each.path for each in found)
    assert wish == FlashWish(board, bus, "camera", 3, default_name(), needs_bus=True)
    assert technician.asked == ["Role of the node: air, water, camera", "Address of the node: 3"]
    assert shown == [f"camera node 3 on the board at {board}, its bus is at {bus}"]


def test_of_two_candidates_the_technician_chooses(tmp_path: Path) -> None:
    technician = Answers()
    wish = FlashWish(None, None, "air", 7, None, needs_bus=True)
    with ports(tmp_path, 2, 2) as found:
        wish = completed(wish, tmp_path / "log", 115200, lambda: found, technician, print)
    assert (wish.port, wish.bus_port) == (found[1].path, found[3].path)
    assert [each.split(":")[0] for each in technician.asked] == [
        "Which board",
        "Which port is the node's bus",
    ]


def test_without_a_technician_what_is_missing_is_named(tmp_path: Path) -> None:
    with (
        ports(tmp_path, 2, 2) as found,
        pytest.raises(MissingOptions) as caught,
    ):
        completed(NOTHING, tmp_path / "log", 115200, lambda: found, None, print)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "--port",
        "--bus-port",
        "--role",
        "--unit",
    ]
    assert found[0].path in lines[1]
    assert "USB 1-2" in lines[1]


def test_a_port_of_the_computer_itself_is_no_candidate(tmp_path: Path) -> None:
    with (
        ports(tmp_path, 1, 0) as found,
        pytest.raises(MissingOptions, match=r"--bus-port: .*none"),
    ):
        completed(
            NOTHING, tmp_path / "log", 115200, lambda: [*found, info("/dev/ttyS0")], None, print
        )


def test_what_is_named_is_not_asked(tmp_path: Path) -> None:
    wish = FlashWish("/dev/a", "/dev/b", "air", 7, "x", needs_bus=True)

    def fail() -> list[PortInfo]:
        raise AssertionError("nobody has to look")

    assert completed(wish, tmp_path / "log", 115200, fail, None, print) == wish


def test_no_board_at_any_port(tmp_path: Path) -> None:
    with ports(tmp_path, 0, 1) as found, pytest.raises(FlashingError, match=r"^TF-FLASH-010: .*"):
        completed(NOTHING, tmp_path / "log", 115200, lambda: found, Answers(), print)


def test_a_chip_of_no_board_of_ours(tmp_path: Path) -> None:
    with (
        ports(tmp_path, 1, 1, chip_id=0x431) as found,
        pytest.raises(BoardError, match=r"STM32F411.*--board"),
    ):
        completed(NOTHING, tmp_path / "log", 115200, lambda: found, Answers(), print)


@pytest.mark.provokes("TF-FLASH-045")
def test_a_station_with_a_node_at_each_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"event": "proven", "uid": str(unit), "unit": unit} for unit in range(1, 248)]
    monkeypatch.setattr(station_log, "entries", lambda _: lines)
    with pytest.raises(FlashingError, match=r"^TF-FLASH-045: "):
        next_unit(tmp_path / "log")
    del lines[99]
    assert next_unit(tmp_path / "log") == 100
    # A board that was flashed again has one address, its last.
    lines[0] = {"event": "proven", "uid": "2", "unit": 1}
    assert next_unit(tmp_path / "log") == 1
