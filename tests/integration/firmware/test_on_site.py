"""A technician's visit to real node processes: move, find two alike, blink, calibrate."""

import asyncio
import datetime as dt
import json
import os
import secrets
import select
import termios
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boards.cli import app
from boards.flash.errors import FlashingError
from boards.node_line import NodeLine
from boards.provision import node_key
from boards.site import calibration
from boards.site.calibration import Reference
from boards.site.move import Berth, move
from hil.bench import Bench
from hil.bus import Rs485Line
from hil.engines.base import NodeSpec
from hil.engines.unix import UnixEngine
from hil.sim.part import Steady
from hil.wires.pty import Pty
from protocols.wire.site import RECORD, TRIAL
from tests.integration.firmware.node_process import KEY, UID, Cable, NodeProcess

pytestmark = pytest.mark.timeout(120)


class SlowCable(Cable):
    """A cable that does not carry 57,600 baud, or that is cut."""

    def __init__(self) -> None:
        self.cut = False
        super().__init__()

    def _copy(self) -> None:
        left, right = self._masters
        while True:
            ready = select.select([left, right, self._stop_read], [], [])[0]
            if self._stop_read in ready:
                return
            for source in ready:
                data = os.read(source, 4096)
                # The speed that each end's program has set for its own tty.
                speeds = {termios.tcgetattr(slave)[4] for slave in self._slaves}
                if len(speeds) == 1 and termios.B57600 not in speeds and not self.cut:
                    os.write(right if source == left else left, data)


@pytest.fixture
def cable() -> Iterator[SlowCable]:
    cable = SlowCable()
    yield cable
    cable.close()


@pytest.fixture
def node(tmp_path: Path, cable: SlowCable) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path, cable.node_end, "water") as node:
        node.start()
        yield node


def key_file(folder: Path, key: str = KEY.hex(), key_id: int = 5) -> Path:
    path = folder / "key.json"
    path.touch(0o600)
    path.write_text(json.dumps({"key_id": key_id, "key": key}))
    return path


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.provokes("TF-SITE-070")
def test_a_node_is_moved_and_stays_over_a_power_cut(
    node: NodeProcess, cable: SlowCable, tmp_path: Path
) -> None:
    key = key_file(tmp_path)
    at = ("--baud", 115200, "--key", key)
    status, text = run("blink", cable.master_end, "--seconds", 5, *at)
    assert status == 0, text
    assert node.line_with("blink") == {"blink": 5}
    words = ("commission", "address", cable.master_end)
    status, text = run(*words, "--to", 7, "--to-baud", 19200, *at)
    assert status == 0, text
    node.kill()
    node.start()
    status, text = run("show", cable.master_end, "--unit", 7, "--baud", 19200, "--json")
    assert status == 0, text
    settings = json.loads(text)["settings"]
    assert (settings["unit_id"], settings["baud_div_100"]) == (7, 192)
    status, text = run(*words, "--to", 8, "--baud", 19200, "--key", key)
    assert status == 1
    assert "TF-SITE-070" in text


@pytest.mark.provokes("TF-SITE-073")
@pytest.mark.provokes("TF-SITE-074")
def test_a_node_that_is_not_heard_comes_back(
    node: NodeProcess, cable: SlowCable, tmp_path: Path
) -> None:
    key = key_file(tmp_path)
    words = ("commission", "address", cable.master_end, "--baud", 115200, "--key", key)
    status, text = run(*words, "--to", 7, "--to-baud", 57600, "--trial", 2)
    assert status == 1
    assert "TF-SITE-073" in text
    status, text = run("show", cable.master_end, "--baud", 115200, "--json")
    assert status == 0, text
    assert json.loads(text)["settings"]["baud_div_100"] == 1152

    def cut(text: str) -> None:
        cable.cut = cable.cut or "tried" in text

    secret = node_key(key)
    with pytest.raises(FlashingError, match="TF-SITE-074"):
        move(cable.master_end, Berth(1, 115200), Berth(7, 115200), secret, trial_s=2, show=cut)
    cable.cut = False
    with NodeLine(cable.master_end, 1, 115200) as line:
        assert line.identity().uid == UID


@pytest.mark.provokes("TF-SITE-071")
@pytest.mark.provokes("TF-SITE-072")
async def test_two_nodes_with_one_address_are_found_and_parted(tmp_path: Path) -> None:
    uids = ("7f" * 12, "7f" * 11 + "7e")
    keys = [secrets.token_hex(32) for _ in uids]
    async with UnixEngine() as engine:
        boards = [
            await engine.board(
                NodeSpec(f"n{index}", "air", uid, {"baud_div_100": 1152}, 1, keys[index]),
                tmp_path / f"n{index}",
            )
            for index, uid in enumerate(uids)
        ]
        wires = {"master": Pty(rx_limit=4095)} | {
            f"n{index}": board.wire("line") for index, board in enumerate(boards)
        }
        async with Rs485Line(wires, seed=1, baud=115200) as line:
            port = line.path("master")
            for board in boards:
                await board.start()
            at = ("--baud", 115200)
            status, text = await asyncio.to_thread(run, "commission", "find", port, *at)
            assert status == 1
            assert "TF-SITE-071" in text
            assert all(uid in text for uid in uids)
            key = key_file(tmp_path, keys[1], 1)
            words = ("commission", "address", port, "--uid", uids[1], "--key", key, *at)
            status, text = await asyncio.to_thread(run, *words, "--to", 2)
            assert status == 0, text
            for unit, uid in ((1, uids[0]), (2, uids[1])):
                found = ("commission", "find", port, "--unit", unit, "--json", *at)
                status, text = await asyncio.to_thread(run, *found)
                assert (status, json.loads(text)["uids"]) == (0, [uid])
            key = key_file(tmp_path, keys[0], 1)
            first = ("commission", "address", port, "--key", key, *at)
            status, text = await asyncio.to_thread(run, *first, "--to", 2)
            assert status == 1
            assert "TF-SITE-072" in text
            for board in boards:
                await board.kill()


class Technician:
    """Puts the probe into one liquid after the other; it shows 0.3 pH too little."""

    def __init__(self, source: Steady, liquids: list[float]) -> None:
        self.source = source
        self.liquids = liquids
        self.shown: list[str] = []

    def wait(self, text: str) -> None:
        if not self.liquids:
            raise KeyboardInterrupt
        ph = self.liquids.pop(0) - 0.3
        self.source.water_now = replace(self.source.water_now, ph=ph, temperature=25.0)

    def show(self, text: str) -> None:
        self.shown.append(text)


@pytest.mark.provokes("TF-SITE-075")
async def test_a_probe_is_calibrated_and_an_interrupted_dialogue_changes_nothing(
    tmp_path: Path,
) -> None:
    source = Steady()
    fast = {"sample_period_ds": 2, "warmup_limit_s": 0, "baud_div_100": 1152}
    async with Bench(tmp_path / "bench", source, roles=("water",), settings=fast) as bench:
        await bench.power_on()
        spec = bench.nodes["water"].spec
        assert spec.key is not None
        key = node_key(key_file(tmp_path, spec.key, spec.key_id))
        unit = int(spec.settings["unit_id"])

        def work() -> None:
            with NodeLine(bench.port, unit, 115200) as line:
                identity = line.identity()
                before = line.settings()

                def guided(liquids: list[float], limit_s: float = 20) -> calibration.ProbeRecord:
                    return calibration.calibrate(
                        line,
                        identity,
                        "ph",
                        (Reference(7, "B0412"), Reference(4, "B0388")),
                        "wang",
                        key,
                        Technician(source, liquids),
                        limit_s=limit_s,
                        today=lambda: dt.date(2026, 11, 28),
                    )

                with pytest.raises(KeyboardInterrupt):
                    guided([])
                with pytest.raises(FlashingError, match="TF-SITE-075"):
                    guided([7.0], 0)
                assert line.settings() == before
                assert line.holding(TRIAL, 7)[4:6] == [0, 0]  # nothing is held any more
                done = guided([7.0, 4.0])
                assert 98 <= done.slope_percent <= 102
                after = line.settings()
                assert after[7:11] == [done.raws[0], 700, done.raws[1], 400]
                record = line.holding(RECORD + 2, 31)
                assert record[1] == 20785  # days from 1970-01-01 to 2026-11-28
                texts = b"".join(word.to_bytes(2, "big") for word in record[7:])
                assert [texts[at : at + 16].rstrip(b"\0") for at in (0, 16, 32)] == [
                    b"B0412",
                    b"B0388",
                    b"wang",
                ]
                events = [(event.code, event.arg) for event in line.events()[2]]
                assert (18, 0x0202) in events
                assert events[-1] == (18, 0x0200)

        await asyncio.to_thread(work)


async def test_a_level_gets_its_zero_and_a_camera_is_aimed(tmp_path: Path) -> None:
    source = Steady()
    fast = {"sample_period_ds": 3, "warmup_limit_s": 0, "baud_div_100": 1152}
    async with Bench(tmp_path / "b", source, roles=("water", "camera"), settings=fast) as bench:
        await bench.power_on()
        spec = bench.nodes["water"].spec
        assert spec.key is not None
        key = key_file(tmp_path, spec.key, spec.key_id)
        at = ("--baud", 115200, "--json")
        words = ("commission", "level", bench.port, "--gauge", "P3", "--hand", "wang")
        status, text = await asyncio.to_thread(run, *words, "--level", 850, "--key", key, *at)
        assert status == 0, text
        assert json.loads(text) == {"level_mm": 850, "zero_mm": 1953 + 850}
        aim = ("commission", "aim", bench.port, "--unit", bench.unit("camera"), "--count", 2)
        status, text = await asyncio.to_thread(run, *aim, *at)
        assert status == 0, text
        views = [json.loads(line) for line in text.splitlines()]
        assert len(views) == 2
        assert all(0 < view["luma"] <= 100 and view["sharpness"] > 500 for view in views)
        assert views[1]["best"] == max(view["sharpness"] for view in views)

        def recorded() -> tuple[list[int], int]:
            with NodeLine(bench.port, 1, 115200) as line:
                words = line.holding(RECORD, 31)
            with NodeLine(bench.port, bench.unit("camera"), 115200) as line:
                return words, line.settings()[5]

        record, image_export = await asyncio.to_thread(recorded)
        assert record[:5] == [0xFFFF, record[1], 1953, 850, 2803]
        assert image_export == 0
