"""A flash job from the port to the record store, and everything that must not happen on the way.

The proof over the node's bus has its own tests; here what it would look at is taken from the chip.
"""

import hashlib
import io
import json
import os
import random
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from boards import spec as specs
from boards.cli.flash import _Checklist
from boards.errors import BoardError
from boards.flash import run as flash_run
from boards.flash import station_log
from boards.flash.errors import FlashingError
from boards.flash.prove import NodeProof, NodeProver
from boards.flash.run import FlashRequest, flash
from boards.folder import default_name
from boards.provision import Provisioned, provision, write_new
from boards.recordstore import contents
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom

UID = bytes(range(1, 13))
VECTORS = bytes.fromhex("0040002001010008")
IMAGE = VECTORS + random.Random(405).randbytes(19_993)
STORE = slice(0xC0000, 0x100000)


class Steps:
    """Keeps what was shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._step = ""

    def begin(self, step: str) -> None:
        self._step = step

    def progress(self, done: int, total: int) -> None:
        assert 0 <= done <= total

    def end(self, text: str) -> None:
        self.lines.append(f"{self._step}: {text}")

    def ask(self, text: str) -> None:
        self.lines.append(f"asked: {text}")


class Proven(NodeProver):
    """Stand in for the node."""

    def prove(self, limit_s: float) -> NodeProof:
        key_id = json.loads(self.key.read_text())["key_id"]
        return NodeProof(self.uid, self.role, self.image, key_id, 1, 1)

    def prove_again(
        self, first: NodeProof, limit_s: float, again: Callable[[str], None]
    ) -> NodeProof:
        return replace(first, boot_epoch=2)


@pytest.fixture(autouse=True)
def _no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_run, "NodeProver", Proven)


STOCK = next(name for name in specs.names() if not specs.load(name).has_image)


def request(folder: Path, port: Path, **more: object) -> FlashRequest:
    image = folder / "image.bin"
    image.write_bytes(IMAGE)
    fields: dict[str, object] = {
        "board": default_name(),
        "role": "air",
        "settings": {"unit_id": 7},
        "port": str(port),
        "baud": 115200,
        "bus_port": "",
        "keys": folder / "keys",
        "log": folder / "station.jsonl",
        "image": image,
    }
    return FlashRequest(**{**fields, **more})  # type: ignore[arg-type]  # of the fields by name


def keys(folder: Path) -> dict[str, str]:
    """The key files there are, by name, and their secrets."""
    return {
        path.name: json.loads(path.read_text())["key"]
        for path in sorted((folder / "keys").glob("*"))
    }


def test_a_blank_board_gets_image_and_store(tmp_path: Path) -> None:
    started: list[int] = []
    rom = BootRom(UID, on_go=started.append)
    steps = Steps()
    with BootRomBoard(rom, tmp_path) as board:
        report = flash(request(tmp_path, board.port), steps)
    assert bytes(rom.flash[: len(IMAGE)]) == IMAGE
    assert set(rom.flash[len(IMAGE) : 0xC0000]) == {0xFF}
    records = contents(bytes(rom.flash[STORE]))
    assert json.loads(records["board"]) == {
        "role": "air",
        "settings": {"unit_id": 7},
        "uid": UID.hex(),
    }
    key = json.loads(records["node.key"])
    assert keys(tmp_path) == {f"{UID.hex()}-1.json": key["key"]}
    assert (key["key_id"], key["uid"]) == (1, UID.hex())
    assert stat.S_IMODE((tmp_path / "keys" / f"{UID.hex()}-1.json").stat().st_mode) == 0o600
    assert started == [0x08000000]
    assert report.image == hashlib.sha256(IMAGE).hexdigest()
    assert [each.sha256 for each in report.regions] == [
        report.image,
        hashlib.sha256(rom.flash[STORE]).hexdigest(),
    ]
    assert steps.lines[0] == f"identify: STM32F405/407 (id 0x413), unique id {UID.hex()}, blank"


def test_a_board_continues_a_broken_node_under_the_next_key(tmp_path: Path) -> None:
    broken, spare = BootRom(UID), BootRom(bytes(range(31, 43)))
    with BootRomBoard(broken, tmp_path) as board:
        flash(request(tmp_path, board.port), Steps())
    with BootRomBoard(spare, tmp_path) as board:
        report = flash(request(tmp_path, board.port, replaces=UID.hex()), Steps())
    records = contents(bytes(spare.flash[STORE]))
    assert json.loads(records["board"])["uid"] == report.uid == UID.hex()
    assert json.loads(records["node.key"])["key_id"] == 2
    assert sorted(keys(tmp_path)) == [f"{UID.hex()}-1.json", f"{UID.hex()}-2.json"]
    begun = [
        each for each in station_log.entries(tmp_path / "station.jsonl") if each["event"] == "begun"
    ]
    assert [(each["uid"], each["chip_uid"]) for each in begun] == [
        (UID.hex(), UID.hex()),
        (UID.hex(), bytes(range(31, 43)).hex()),
    ]


def test_a_board_in_use_keeps_its_image_and_gets_a_new_key(tmp_path: Path) -> None:
    rom = BootRom(UID)
    with BootRomBoard(rom, tmp_path) as board:
        wanted = request(tmp_path, board.port)
        flash(wanted, Steps())
        old = keys(tmp_path)[f"{UID.hex()}-1.json"]
        rom.erased.clear()
        # Another station: its log and its keys are not here, the board shows its key's id.
        (tmp_path / "station.jsonl").unlink()
        (tmp_path / "keys" / f"{UID.hex()}-1.json").unlink()
        report = flash(wanted, Steps())
    assert rom.erased == [10, 11]
    assert "keep image" in report.plan
    assert "settings and calibration of the air node are lost" in report.plan
    assert list(keys(tmp_path)) == [f"{UID.hex()}-2.json"]
    assert old.encode() not in bytes(rom.flash)


@pytest.mark.provokes("TF-FLASH-020")
def test_another_chip_is_refused_before_anything_is_erased(tmp_path: Path) -> None:
    rom = BootRom(UID, chip_id=0x431)
    with (
        BootRomBoard(rom, tmp_path) as board,
        pytest.raises(
            FlashingError,
            match=r"^TF-FLASH-020: .*STM32F405/407 .*STM32F411 .*nothing was written",
        ),
    ):
        flash(request(tmp_path, board.port), Steps())
    assert set(rom.commands) <= {0x00, 0x02}
    assert keys(tmp_path) == {}


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    rom = BootRom(UID)
    with BootRomBoard(rom, tmp_path) as board:
        report = flash(request(tmp_path, board.port, dry_run=True), Steps())
    assert set(rom.commands) <= {0x00, 0x02, 0x11}
    assert report.proof is None
    assert {path.name for path in tmp_path.iterdir()} == {"image.bin", "port"}


@pytest.mark.provokes("TF-FLASH-030")
def test_a_bit_that_does_not_take_is_named_by_its_offset(tmp_path: Path) -> None:
    rom = BootRom(UID)
    at = next(n for n in range(5000, 6000) if IMAGE[n] & 4)
    rom.faults.stuck.append((at, 4))
    with (
        BootRomBoard(rom, tmp_path) as board,
        pytest.raises(FlashingError, match=rf"^TF-FLASH-030: image: at offset {at:#x} "),
    ):
        flash(request(tmp_path, board.port), Steps())
    assert keys(tmp_path) == {}
    assert station_log.entries(tmp_path / "station.jsonl")[-1]["event"] == "failed"


def test_a_bit_that_flips_on_the_line_costs_nothing(tmp_path: Path) -> None:
    rom = BootRom(UID)
    rom.faults.flip_read.update(range(250, 300, 3))
    with BootRomBoard(rom, tmp_path) as board:
        flash(request(tmp_path, board.port), Steps())
    assert bytes(rom.flash[: len(IMAGE)]) == IMAGE


@pytest.mark.provokes("TF-FLASH-021")
def test_a_protected_chip_is_unlocked_only_on_request(tmp_path: Path) -> None:
    rom = BootRom(UID, protected=True)
    with BootRomBoard(rom, tmp_path) as board:
        with pytest.raises(FlashingError, match=r"^TF-FLASH-021: .*--unlock"):
            flash(request(tmp_path, board.port), Steps())
        with pytest.raises(FlashingError, match=r"^TF-FLASH-021: "):
            flash(request(tmp_path, board.port, unlock=True, dry_run=True), Steps())
        assert rom.protected
        flash(request(tmp_path, board.port, unlock=True), Steps())
    assert bytes(rom.flash[: len(IMAGE)]) == IMAGE


@pytest.mark.provokes("TF-FLASH-004")
@pytest.mark.parametrize(
    ("pull_at", "keeps_power"), [(6_000, True), (18_000, True), (30_000, False)]
)
def test_after_a_pulled_cable_the_same_command_ends_well(
    tmp_path: Path, pull_at: int, keeps_power: bool
) -> None:
    """Every tenth of the way is pulled in the test that runs the real image."""
    rom = BootRom(UID)
    with BootRomBoard(rom, tmp_path, pull_at, keeps_power) as board:
        wanted = request(tmp_path, board.port)
        with pytest.raises(FlashingError, match=r"^TF-FLASH-004: .*the same command"):
            flash(wanted, Steps())
        assert set(rom.flash[:256]) == {0xFF} or bytes(rom.flash[: len(IMAGE)]) == IMAGE, (
            "half an image must not start"
        )
        flash(wanted, Steps())
        assert board.pulls == 1
    assert bytes(rom.flash[: len(IMAGE)]) == IMAGE
    key = json.loads(contents(bytes(rom.flash[STORE]))["node.key"])
    assert keys(tmp_path)[f"{UID.hex()}-{key['key_id']}.json"] == key["key"]
    ids = [line.get("key_id") for line in station_log.entries(tmp_path / "station.jsonl")]
    assert ids.count(key["key_id"]) == 2, "begun and proven, once each"


@pytest.mark.provokes("TF-FLASH-023")
@pytest.mark.parametrize("content", [b"", bytes(0x60001)])
def test_an_image_that_does_not_fit_is_refused(tmp_path: Path, content: bytes) -> None:
    wanted = request(tmp_path, tmp_path / "port")
    (tmp_path / "image.bin").write_bytes(content)
    with pytest.raises(FlashingError, match=r"^TF-FLASH-023: .*1 to 393216 bytes"):
        flash(wanted, Steps())


@pytest.mark.provokes("TF-FLASH-031")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (VECTORS + bytes(300) + f"boards/{STOCK}/board.py".encode(), f"one of {STOCK}"),
        (bytes.fromhex("0040001001010008") + bytes(300), "0x10004000, which is no RAM"),
        (bytes.fromhex("0040002001010000") + bytes(300), "starts at 0x00000101"),
        (bytes.fromhex("0040002001020008") + bytes(300), "starts at 0x08000201"),
        (b"\x7fELF", "which is no RAM"),
    ],
)
def test_an_image_of_another_board_is_refused_before_anything_is_erased(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    rom = BootRom(UID)
    with BootRomBoard(rom, tmp_path) as board:
        wanted = request(tmp_path, board.port)
        (tmp_path / "image.bin").write_bytes(content)
        with pytest.raises(FlashingError, match=rf"^TF-FLASH-031: .*{problem}.*nothing was writ"):
            flash(wanted, Steps())
    assert rom.erased == []


@pytest.mark.provokes("TF-FLASH-040")
def test_a_folder_that_takes_no_key_ends_the_job_before_the_board_has_one(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where the folder should be")
    rom = BootRom(UID)
    with (
        BootRomBoard(rom, tmp_path) as board,
        pytest.raises(FlashingError, match=r"^TF-FLASH-040: "),
    ):
        flash(request(tmp_path, board.port), Steps())
    assert set(rom.flash[STORE]) == {0xFF}


def test_a_key_that_did_not_reach_the_board_is_deleted_and_its_id_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BoardError("no store")

    rom = BootRom(UID)
    with BootRomBoard(rom, tmp_path) as board:
        wanted = request(tmp_path, board.port)
        with monkeypatch.context() as broken:
            broken.setattr("boards.flash.job.provision", fail)
            with pytest.raises(BoardError, match="no store"):
                flash(wanted, Steps())
        assert keys(tmp_path) == {}
        flash(wanted, Steps())
    assert list(keys(tmp_path)) == [f"{UID.hex()}-2.json"]


@pytest.mark.parametrize("more", [{"role": "fire"}, {"settings": {"unit_id": 0}}])
def test_what_no_node_can_be_is_refused_first(tmp_path: Path, more: dict[str, object]) -> None:
    with pytest.raises(BoardError, match=r"role|unit_id"):
        flash(request(tmp_path, tmp_path / "nothing", **more), Steps())


def test_what_the_station_held_of_the_key_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bytes] = []

    def keep_key(path: Path, content: bytes) -> None:
        held.append(content)
        write_new(path, content)

    def keep_store(*asked: object) -> Provisioned:
        made = provision(*asked)  # type: ignore[arg-type]  # as the job gives them
        held.append(made.store)
        return made

    monkeypatch.setattr("boards.flash.key_files.write_new", keep_key)
    monkeypatch.setattr("boards.flash.job.provision", keep_store)
    rom = BootRom(UID)
    with BootRomBoard(rom, tmp_path) as board:
        flash(request(tmp_path, board.port), Steps())
    assert [len(each) > 64 for each in held] == [True, True]
    assert not any(any(each) for each in held)
    assert (
        json.loads(contents(bytes(rom.flash[STORE]))["node.key"])["key"] in keys(tmp_path).values()
    )


def test_a_key_file_is_its_owner_s_alone_from_its_first_instant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[bool, int]] = []
    begin = os.open

    def noted(path: str | Path, flags: int, mode: int = 0o777, **more: int) -> int:
        if Path(path).parent.name == "keys" and flags & os.O_CREAT:
            made.append((bool(flags & os.O_EXCL), mode))
        return begin(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", noted)
    before = os.umask(0)
    try:
        with BootRomBoard(BootRom(UID), tmp_path) as board:
            flash(request(tmp_path, board.port), Steps())
    finally:
        os.umask(before)
    assert made == [(True, 0o600)]
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_each_step_has_a_bar_that_moves_and_then_a_line() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    with Progress(console=console, transient=True, auto_refresh=False) as bars:
        steps = _Checklist(console, bars)
        steps.begin("write the image")
        bars.refresh()
        assert "write the image" in out.getvalue()
        assert "0%" not in out.getvalue(), "how far it is, nobody knows yet"
        steps.progress(30, 60)
        bars.refresh()
        assert "50%" in out.getvalue()
        steps.end("60 bytes")
        assert bars.tasks == []
    assert "[ok] write the image: 60 bytes" in out.getvalue()
