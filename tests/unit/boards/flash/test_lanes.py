"""Which ports make a lane, and what lanes share: addresses, the stop after two like failures."""

import threading
from pathlib import Path

import pytest

from boards.errors import BoardError
from boards.flash import lanes as flash_lanes_module
from boards.flash.detect import FoundPort
from boards.flash.errors import CABLE, SILENT, STALLED, FlashingError
from boards.flash.lanes import FlashLane, LaneResult, flash_lanes, lanes_of, named_lanes
from boards.flash.run import FlashRequest
from boards.ports import PortInfo


def info(path: str, place: str) -> PortInfo:
    return PortInfo(path, place, "", "", "", "", ())


def test_a_lane_is_an_adapter_with_two_ports_or_a_hub_with_two_adapters() -> None:
    ports = [
        info("/dev/a", "1-1"),
        info("/dev/b", "1-1"),
        info("/dev/c", "1-2.1"),
        info("/dev/d", "1-2.4"),
        info("/dev/e", "1-10.3.1"),
        info("/dev/f", "1-10.3.2"),
        info("/dev/ttyS0", ""),
    ]
    found = {lane.place: [port.path for port in lane.ports] for lane in lanes_of(ports)}
    assert found == {
        "1-1": ["/dev/a", "/dev/b"],
        "1-2": ["/dev/c", "/dev/d"],
        "1-10.3": ["/dev/e", "/dev/f"],
    }


@pytest.mark.parametrize(
    "places", [[], ["1-2.1"], ["1-2.1", "1-2.2", "1-2.3"], ["1-2.1", "1-2.2", "1-2.3", "1-2.4"]]
)
def test_ports_that_make_no_pair_are_named(places: list[str]) -> None:
    ports = [info(f"/dev/{number}", place) for number, place in enumerate(places)]
    with pytest.raises(BoardError, match=r"^--lanes auto: expected"):
        lanes_of(ports)


@pytest.mark.parametrize("text", ["", "a", "a=", "a=b,c", "a=b,b=c"])
def test_pairs_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BoardError, match=r"^--lanes: expected"):
        named_lanes(text)


class Silent:
    """A watcher that keeps the results."""

    def __init__(self) -> None:
        self.results: list[LaneResult] = []

    def begin(self, step: str) -> None: ...
    def progress(self, done: int, total: int) -> None: ...
    def end(self, text: str) -> None: ...
    def ask(self, text: str) -> None: ...
    def wait(self, text: str) -> None: ...
    def done(self, result: LaneResult) -> None:
        self.results.append(result)


def run(
    monkeypatch: pytest.MonkeyPatch, folder: Path, faults: list[FlashingError | None], count: int
) -> tuple[int, list[LaneResult], str]:
    """One lane, with these ends of its boards."""
    request = FlashRequest("x", "air", {}, "", 1, "", folder, folder / "log", folder / "image")
    watcher = Silent()
    uids = iter(range(1000))
    answers = iter([0x413, None] * 1000)

    def flash(request: FlashRequest, _: object, allow: object) -> object:
        assert callable(allow)
        allow(f"{next(uids):024x}")
        fault = faults.pop(0)
        if fault:
            raise fault
        return object()

    monkeypatch.setattr(flash_lanes_module, "flash", flash)
    monkeypatch.setattr(flash_lanes_module, "_LOOK_S", 0.001)
    monkeypatch.setattr(
        flash_lanes_module, "loader_at", lambda port, _: FoundPort(port, next(answers))
    )

    def watch(_: FlashLane) -> Silent:
        return watcher

    problem = ""
    proven = -1
    try:
        proven = flash_lanes(request, 5, count, named_lanes("a=b"), watch, threading.Event())
    except FlashingError as error:
        problem = str(error)
    return proven, watcher.results, problem


def cable() -> FlashingError:
    return FlashingError(CABLE, "pulled")


def test_a_failed_board_gives_its_address_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = [None, cable(), None, cable(), FlashingError(STALLED, "x"), None]
    proven, results, problem = run(monkeypatch, tmp_path, ends, 3)
    assert (proven, problem) == (3, "")
    assert [each.unit for each in results] == [5, 6, 6, 7, 7, 7]
    assert [each.code for each in results] == [
        "",
        "TF-FLASH-004",
        "",
        "TF-FLASH-004",
        "TF-FLASH-013",
        "",
    ]


@pytest.mark.provokes("TF-FLASH-046")
def test_two_failures_of_one_kind_in_a_row_end_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[FlashingError | None] = [None, cable(), FlashingError(SILENT, "x"), cable(), cable()]
    _, results, problem = run(monkeypatch, tmp_path, [*ends, None], 9)
    assert problem.startswith("TF-FLASH-046: lane 1: TF-FLASH-004: pulled")
    assert len(results) == 5


def test_an_error_of_ours_ends_the_batch_and_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IndexError):
        run(monkeypatch, tmp_path, [None], 2)  # no end for the second board
