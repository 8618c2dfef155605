"""Boards side by side: real nodes prove themselves, each on its lane, and twins are found."""

import json
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from boards.flash import station_log
from boards.flash.lanes import FlashLane, LaneResult, flash_lanes, named_lanes
from boards.flash.run import FlashRequest
from boards.folder import default_name
from boards.recordstore import contents
from hil.boot_rom.chip import BootRom
from hil.boot_rom.place import BoardPlace
from tests.bench.flashing import stand_in_image

pytestmark = pytest.mark.timeout(120)


class Hands:
    """The technician at one lane: connects, cycles the power, takes out."""

    def __init__(self, place: BoardPlace, boards: list[bytes], results: list[LaneResult]) -> None:
        self._place = place
        self._boards = boards
        self._results = results
        self.roms: list[BootRom] = []
        self.actions = 0

    def begin(self, step: str) -> None:
        pass

    def progress(self, done: int, total: int) -> None:
        assert 0 <= done <= total

    def end(self, text: str) -> None:
        pass

    def ask(self, text: str) -> None:
        assert "take the board's power away" in text
        self.actions += 1
        self._place.power_cycle()

    def wait(self, text: str) -> None:
        if text.startswith("a board") and self._boards:
            self.actions += 1
            self.roms.append(self._place.put_in(self._boards.pop(0)))

    def done(self, result: LaneResult) -> None:
        self._results.append(result)
        self._place.take_out()


@pytest.mark.provokes("TF-FLASH-024")
def test_boards_on_two_lanes(tmp_path: Path) -> None:
    (tmp_path / "image.bin").write_bytes(stand_in_image(4_000))
    log = tmp_path / "station.jsonl"
    station_log.append(log, {"event": "proven", "uid": "ff" * 12, "unit": 2})
    twin = b"\x0a" * 12
    boards = [[twin, b"\x0b" * 12], [b"\x0c" * 12, twin, b"\x0d" * 12]]
    results: list[LaneResult] = []
    with ExitStack() as stack:
        places = [stack.enter_context(BoardPlace(tmp_path / str(n))) for n in range(2)]
        lanes = named_lanes(",".join(f"{place.port}={place.bus_port}" for place in places))
        hands = {
            lane.place: Hands(place, uids, results)
            for lane, place, uids in zip(lanes, places, boards, strict=True)
        }
        request = FlashRequest(
            default_name(),
            "air",
            {"fitted": 0, "baud_div_100": 1152, "sample_period_ds": 2},
            "",
            115200,
            "",
            tmp_path / "keys",
            log,
            tmp_path / "image.bin",
            tmp_path / "labels",
        )

        def watcher(lane: FlashLane) -> Hands:
            return hands[lane.place]

        proven = flash_lanes(request, 1, 4, lanes, watcher, threading.Event())
    assert proven == 4
    good = [each for each in results if each.report]
    assert sorted(each.uid for each in good) == sorted(
        uid.hex() for uid in (twin, b"\x0b" * 12, b"\x0c" * 12, b"\x0d" * 12)
    )
    assert sorted(each.unit for each in good) == [1, 3, 4, 5], "address 2 is another node's"
    (refused,) = [each for each in results if not each.report]
    assert (refused.uid, refused.code) == (twin.hex(), "TF-FLASH-024")
    assert sum(each.actions for each in hands.values()) <= 2 * len(results)
    lines = station_log.entries(log)
    assert [line["lane"] for line in lines if line["event"] == "begun"].count("2") == 2
    # A label for each board that is proven, and no other.
    names = {path.stem for path in (tmp_path / "labels").iterdir()}
    assert names == {each.uid for each in good}
    for rom in (rom for hand in hands.values() for rom in hand.roms):
        if rom.erased:
            made = json.loads(contents(bytes(rom.flash[0xC0000:]))["board"])
            (result,) = [each for each in good if each.uid == made["uid"]]
            assert made["settings"]["unit_id"] == result.unit
