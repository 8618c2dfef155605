"""A board that is flashed over USB has no unique id until its node shows it: what stands in for it.

The proof over the node's bus has its own tests; here what it would look at is taken from the flash.
"""

import json
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boards.cli import app
from boards.errors import BoardError
from boards.flash import run, station_log
from boards.flash.detect import FlashWish, MissingOptions, completed
from boards.flash.errors import OTHER_CHIP, TWINS, FlashingError
from boards.flash.key_files import key_file_name
from boards.flash.lanes import LaneResult, flash_lanes, named_lanes
from boards.flash.methods import choice
from boards.flash.prove import NodeProof, NodeProver
from boards.folder import default_name
from boards.ports import PortInfo
from boards.recordstore import contents
from boards.usb_devices import UsbDevice
from gateway_agent.keys import load_node_key
from protocols.station_log import proven_boards

from .programs import LAYOUT, FakeBoard, install
from .test_job import IMAGE, Steps, request

UID = "3a001f000d51383437363136"
#: Another wafer of the lot, the same place on it.
TWIN = "3a001f001151383437363136"
SERIAL = "365036713438"
BOARD = {"path": "1-2.3", "layout": LAYOUT, "serial": SERIAL}


class Proven(NodeProver):
    """Stand in for the node: the unique id of its chip, and what the prover was asked."""

    shows = UID
    asked: list[NodeProver] = []  # noqa: RUF012 # set anew in each test

    def prove(self, limit_s: float) -> NodeProof:
        Proven.asked.append(self)
        if self.shows == "":
            raise FlashingError(OTHER_CHIP, "another")
        key_id = json.loads(self.key.read_text())["key_id"]
        return NodeProof(self.uid or self.shows, self.role, self.image, key_id, 1, 1)

    def prove_again(
        self, first: NodeProof, limit_s: float, again: Callable[[str], None]
    ) -> NodeProof:
        Proven.asked.append(self)
        return replace(first, boot_epoch=2)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
    monkeypatch.setattr(run, "NodeProver", Proven)
    monkeypatch.setattr(Proven, "shows", UID)
    monkeypatch.setattr(Proven, "asked", [])
    return install("dfu-util", tmp_path, monkeypatch, boards=[BOARD])


def flash(
    folder: Path, board: FakeBoard, allow: Callable[[str], None] = lambda _: None, **more: object
) -> run.FlashReport:
    board.set(boards=[BOARD])
    wish = request(folder, Path("1-2.3"), method="dfu", **more)
    return run.flash(wish, Steps(), allow)


def lines(folder: Path) -> list[dict[str, object]]:
    return station_log.entries(folder / "station.jsonl")


def test_the_key_gets_the_unique_id_once_the_node_has_shown_it(
    tmp_path: Path, board: FakeBoard
) -> None:
    allowed: list[str] = []
    report = flash(tmp_path, board, allowed.append)
    assert report.uid == UID
    assert board.flash[: len(IMAGE)] == IMAGE
    records = contents(board.flash[0xC0000:])
    assert "uid" not in json.loads(records["board"])
    (path,) = (tmp_path / "keys").iterdir()
    assert report.key_file == path
    assert path.name == key_file_name(UID, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = load_node_key(path, bytes.fromhex(UID))
    assert key.key.hex() == json.loads(records["node.key"])["key"]
    first, second = Proven.asked
    assert (first.uid, first.usb_serial, first.key.name) == ("", SERIAL, f"{SERIAL}-1.json")
    assert (second.uid, second.key) == (UID, path)
    assert allowed == [UID]
    found = [(line["event"], line["uid"], line["usb_serial"]) for line in lines(tmp_path)]
    assert found == [("begun", "", SERIAL), ("proven", UID, SERIAL)]


def test_a_key_id_is_never_used_again_under_either_name(tmp_path: Path, board: FakeBoard) -> None:
    flash(tmp_path, board)
    Proven.shows = ""
    with pytest.raises(FlashingError, match="TF-FLASH-057"):
        flash(tmp_path, board)
    assert proven_boards(lines(tmp_path)) == {}, "which board was flashed is not known"
    assert sorted(each.name for each in (tmp_path / "keys").iterdir()) == [
        f"{SERIAL}-2.json",
        f"{UID}-1.json",
    ]
    Proven.shows = UID
    (tmp_path / "keys" / f"{SERIAL}-2.json").unlink()
    board.flash = bytes([255]) * len(board.flash)
    flash(tmp_path, board)
    assert [line["key_id"] for line in lines(tmp_path) if "key_id" in line] == [1, 1, 2, 3, 3]
    assert list(proven_boards(lines(tmp_path))) == [UID]


def test_a_board_with_the_same_number_loses_its_proof_only_until_it_is_another_one(
    tmp_path: Path, board: FakeBoard
) -> None:
    flash(tmp_path, board)
    Proven.shows = TWIN
    flash(tmp_path, board)
    found = lines(tmp_path)
    assert proven_boards(found[:3]) == {}
    assert sorted(proven_boards(found)) == sorted([UID, TWIN])


def test_a_twin_of_a_batch_is_found_at_its_proof(tmp_path: Path, board: FakeBoard) -> None:
    def refuse(uid: str) -> None:
        raise FlashingError(TWINS, uid)

    with pytest.raises(FlashingError, match=f"TF-FLASH-024: {UID}"):
        flash(tmp_path, board, refuse)
    assert [line["event"] for line in lines(tmp_path)] == ["begun", "failed"]


def test_a_board_that_continues_another_one_has_that_one_s_id(
    tmp_path: Path, board: FakeBoard
) -> None:
    report = flash(tmp_path, board, replaces=TWIN)
    assert report.uid == TWIN
    assert json.loads(contents(board.flash[0xC0000:])["board"])["uid"] == TWIN
    assert [each.name for each in (tmp_path / "keys").iterdir()] == [f"{TWIN}-1.json"]
    assert [(each["uid"], each["usb_serial"]) for each in lines(tmp_path)] == [(TWIN, SERIAL)] * 2


@pytest.mark.parametrize("serial", ["", "UNKNOWN", "36503671343", "STM32FxSTM32"])
def test_a_bootloader_without_such_a_number_is_refused(
    serial: str, tmp_path: Path, board: FakeBoard
) -> None:
    board.set(boards=[{**BOARD, "serial": serial}])
    wish = request(tmp_path, Path("1-2.3"), method="dfu")
    with pytest.raises(BoardError, match=r"12 hex digits .* got .*use --method uart or swd"):
        run.flash(wish, Steps())
    assert board.events == []


def test_a_dry_run_names_the_number_and_writes_nothing(tmp_path: Path, board: FakeBoard) -> None:
    report = flash(tmp_path, board, dry_run=True)
    assert report.plan.startswith(f"{default_name()} {SERIAL}: write image")
    assert board.events == []
    assert not (tmp_path / "keys").exists()


def wish(**more: object) -> FlashWish:
    made = FlashWish(None, "/dev/bus", "air", 7, None, needs_bus=True)
    return replace(made, **more)  # type: ignore[arg-type] # of the fields by name


def nothing() -> list[PortInfo]:
    return []


def test_a_board_in_its_usb_bootloader_is_found_without_options(
    tmp_path: Path, board: FakeBoard
) -> None:
    shown: list[str] = []
    found = completed(wish(), tmp_path / "log", 115200, nothing, None, shown.append)
    assert (found.port, found.method, found.bus_port) == ("1-2.3", "dfu", "/dev/bus")
    assert shown == ["air node 7 on the board at 1-2.3, its bus is at /dev/bus"]


def test_of_several_on_usb_one_is_named(tmp_path: Path, board: FakeBoard) -> None:
    board.set(boards=[BOARD, {**BOARD, "path": "1-4"}])
    with pytest.raises(MissingOptions, match=rf"--port: .*1-2\.3 \(serial {SERIAL}\), 1-4 \("):
        completed(wish(method="dfu"), tmp_path / "log", 115200, nothing, None, print)


def test_without_dfu_util_the_serial_ports_alone_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(FlashingError, match="TF-FLASH-010"):
        completed(wish(), tmp_path / "log", 115200, nothing, None, print)


def test_a_lane_is_a_usb_socket_and_a_bus(tmp_path: Path, board: FakeBoard) -> None:
    board.set(boards=[BOARD, {**BOARD, "path": "1-4"}])
    watcher = LaneSteps()
    wish = request(tmp_path, Path(), method="dfu")
    lanes = named_lanes("1-2.3=/dev/bus")
    assert flash_lanes(wish, 40, 1, lanes, lambda _: watcher, threading.Event()) == 1
    (result,) = watcher.results
    assert (result.uid, result.unit, result.lane) == (UID, 40, "1")
    assert [prover.port for prover in Proven.asked] == ["/dev/bus"] * 2
    assert board.events[-1] == "leave 0x08000000"


class LaneSteps(Steps):
    """Steps of a lane, and how its boards ended."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[LaneResult] = []

    def wait(self, text: str) -> None: ...

    def done(self, result: LaneResult) -> None:
        self.results.append(result)


@pytest.mark.parametrize(
    ("lanes", "way"), [("auto", "dfu"), ("a=b", "swd"), ("auto", "swd"), ("a=b", "uf2")]
)
def test_lanes_need_boards_that_show_that_they_wait(lanes: str, way: str) -> None:
    words = ["flash", "--lanes", lanes, "--method", way, "--role", "air", "--unit", "1"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert f"USB-PATH=BUS,..., got {lanes} by {way}" in done.stderr


@pytest.mark.parametrize(("serials", "port"), [([], ""), (["066EFF"], "066EFF")])
def test_the_only_probe_is_taken(
    serials: list[str], port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes = [UsbDevice("1-1", "0483:3748", "ST-LINK/V2 (swd)", serial) for serial in serials]
    others = [UsbDevice("1-9", "0483:df11", "STM32 in its USB bootloader (dfu)", SERIAL)]
    monkeypatch.setattr(choice, "usb_devices", lambda: probes + others)
    found = completed(wish(method="swd"), tmp_path / "log", 115200, nothing, None, lambda _: None)
    assert (found.port, found.method) == (port, "swd")


def test_of_several_probes_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes = [UsbDevice(f"1-{n}", "0483:3748", "ST-LINK/V2 (swd)", f"066E{n}") for n in (1, 2)]
    monkeypatch.setattr(choice, "usb_devices", lambda: probes)
    with pytest.raises(MissingOptions, match=r"--port: .*066E1 \(.*USB 1-1\), 066E2 \("):
        completed(wish(method="swd"), tmp_path / "log", 115200, nothing, None, print)
