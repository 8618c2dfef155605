"""With 200 devices no question to the console keeps the loop from polling for more than 20 ms."""

import asyncio
import gc
import http.client
import time
from pathlib import Path

import pytest

from gateway_agent.field.profile_reader import ProfileReader
from gateway_agent.status import PIECE_POINTS, PointValue
from gateway_agent.web import api, view
from gateway_agent.web.history_file import HistoryFile, HistoryPiece, HistoryRow
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.test_agent import make, stopped, write_site

from .help import add_web

DEVICES, POINTS, VIEWERS = 200, 60, 10
VALUES = [PointValue(f"point_{number}", "mm", number / 8) for number in range(POINTS)]
LONGEST_S = 0.020


class Turns:
    """Measures each turn of the loop: the processor's time, and points taken from devices."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.points = 0
        self.most_points = 0
        self.longest_s = 0.0
        monkeypatch.setattr(ProfileReader, "values", self._values)
        self.count = 0
        loop = asyncio.get_running_loop()
        assert isinstance(loop, asyncio.base_events.BaseEventLoop)
        turn = loop._run_once  # type: ignore[attr-defined] # there is no hook for it

        def measured() -> None:
            begin, points = time.thread_time(), self.points
            turn()
            self.most_points = max(self.most_points, self.points - points)
            self.longest_s = max(self.longest_s, time.thread_time() - begin)
            self.count += 1

        loop._run_once = measured  # type: ignore[attr-defined]

    def _values(self, _: object = None) -> list[PointValue]:
        self.points += POINTS
        return VALUES


def write_many(folder: Path) -> Path:
    """Write a site whose devices cannot be reached, and two days of history of one."""
    path = write_site(folder, 1)
    with path.open("a") as file:
        for unit in range(2, DEVICES + 1):
            file.write(
                f'[[bus.device]]\nname = "d{unit}"\nunit = {unit}\nkind = "profile"\n'
                'profile = "senseair-s8"\nperiod_ms = 86400000\n'
            )
    state = folder / "state"
    state.mkdir(mode=0o700)
    now = int(time.time())
    rows = [
        HistoryRow(second * 1000, tuple(second / 7 + index for index in range(POINTS)))
        for second in range(now - 47 * 3600, now, 60)
    ]
    names = tuple(point.name for point in VALUES)
    HistoryFile(state / "history.db", 1 << 26).write({"gw-1.d2": HistoryPiece(names, rows)})
    return add_web(path)


def read(port: int, path: str, least: int) -> bytes:
    """Read at least so many bytes of an answer, in a thread of its own."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("GET", path)
    answer = client.getresponse()
    assert answer.status == 200, path
    data = b""
    while len(data) < least and (more := answer.read1(1 << 16)):
        data += more
    client.close()
    return data


async def test_no_turn_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProfileReader, "values", lambda _: VALUES)
    monkeypatch.setattr(api, "LIVE_S", 0.05)
    monkeypatch.setattr(view, "_FRESH_S", 0.02)
    agent, _ = make(write_many(tmp_path))
    task = asyncio.create_task(agent.run())
    await until(agent.running.is_set)
    port = agent.web_port
    size = len(await asyncio.to_thread(read, port, "/api/v1/overview", 1 << 30))
    assert size > DEVICES * POINTS * 40
    gc.collect()
    gc.freeze()  # what the tests before this one have left is not the agent's
    turns = Turns(monkeypatch)
    asked = ["/metrics", "/api/v1/buses", "/api/v1/config", "/api/v1/devices/d2/history"]
    answers = await asyncio.gather(
        *(asyncio.to_thread(read, port, "/api/v1/live", 3 * size) for _ in range(VIEWERS)),
        *(asyncio.to_thread(read, port, path, 1 << 30) for path in asked),
    )
    longest_s, count = turns.longest_s, turns.count
    gc.unfreeze()
    assert all(len(answer) >= 3 * size for answer in answers[:VIEWERS])
    assert answers[VIEWERS].count(b"tianfu_device_up{") == DEVICES
    assert len(answers[-1]) > 1_000_000
    await stopped(agent, task)
    assert count > 100
    assert 0 < turns.most_points <= PIECE_POINTS + POINTS
    assert longest_s < LONGEST_S
