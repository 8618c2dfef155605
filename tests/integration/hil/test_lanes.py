"""Boards side by side: real nodes prove themselves, each on its lane, and twins are found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from boards.flash import station_log
from boards.recordstore import contents
from hil.boot_rom.place import BoardPlace
from tests.bench.flashing import side_by_side, stand_in_request

pytestmark = pytest.mark.timeout(120)


@pytest.mark.provokes("TF-FLASH-024")
def test_boards_on_two_lanes(tmp_path: Path) -> None:
    request = stand_in_request(tmp_path)
    log = request.log
    station_log.append(log, {"event": "proven", "uid": "ff" * 12, "unit": 2})
    twin = b"\x0a" * 12
    boards = [[twin, b"\x0b" * 12], [b"\x0c" * 12, twin, b"\x0d" * 12]]
    proven, results, hands = side_by_side(request, tmp_path, boards, 4)
    assert proven == 4
    good = [each for each in results if each.report]
    assert sorted(each.uid for each in good) == sorted(
        uid.hex() for uid in (twin, b"\x0b" * 12, b"\x0c" * 12, b"\x0d" * 12)
    )
    assert sorted(each.unit for each in good) == [1, 3, 4, 5], "address 2 is another node's"
    (refused,) = [each for each in results if not each.report]
    assert (refused.uid, refused.code) == (twin.hex(), "TF-FLASH-024")
    assert sum(each.actions for each in hands) <= 3 * len(results)
    lines = station_log.entries(log)
    assert [line["lane"] for line in lines if line["event"] == "begun"].count("2") == 2
    # A label for each board that is proven, and no other.
    names = {path.stem for path in (tmp_path / "labels").iterdir()}
    assert names == {each.uid for each in good}
    for rom in (rom for hand in hands for rom in hand.roms):
        if rom.erased:
            made = json.loads(contents(bytes(rom.flash[0xC0000:]))["board"])
            (result,) = [each for each in good if each.uid == made["uid"]]
            assert made["settings"]["unit_id"] == result.unit


def test_the_command_prints_a_line_for_each_board(tmp_path: Path) -> None:
    request = stand_in_request(tmp_path)
    with BoardPlace(tmp_path / "place") as place:
        place.put_in(b"\x0e" * 12)
        command = [str(Path(sys.executable).parent / "tianfu-node"), "flash", "--json", "--bell"]
        command += ["--lanes", f"{place.port}={place.bus_port}", "--count", "1", "--role", "air"]
        command += ["--unit", "40", "--image", str(request.image), "--set", "fitted=0"]
        command += ["--set", "baud_div_100=1152"]
        with subprocess.Popen(
            command,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            shown = []
            for line in process.stderr:
                shown.append(line)
                if line.lstrip("\a").startswith("[1] you: "):
                    place.power_cycle()
            (printed,) = process.stdout.read().splitlines()
    assert process.returncode == 0, shown
    result = json.loads(printed)
    assert (result["result"], result["lane"], result["unit"]) == ("proven", "1", 40)
    assert result["uid"] == "0e" * 12
    assert result["report"]["label"][0] == f"labels/{'0e' * 12}.png"
    assert shown[-1] == "1 of 1 boards have proven themselves\n"
