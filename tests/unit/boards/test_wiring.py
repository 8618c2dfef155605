"""What repeats the tables of the image board agrees with them.

``board.toml`` and ``peripherals.toml`` are the source: the image's C header and the bench's wiring
(``hil/engines/wiring.py``) are made from them. The rest is compared here; Renode's overlay in
``tests/integration/hil/renode/test_overlay.py``.
"""

import ast
import re
import tomllib

from boards import spec as specs
from boards.folder import default_name, store_area, tables
from boards.recordstore import IMAGE_BYTES, SECTOR_BYTES, SECTORS
from hil.engines import qemu_command, wiring
from hil.renode import commands
from hil.robot.TianfuNode import STORE_ADDRESS
from protocols.wire.registers import MAPS
from tests.paths import ROOT

NAME = default_name()
FOLDER = ROOT / "boards" / NAME
BOARD = tomllib.loads((FOLDER / "board.toml").read_text("utf-8"))
CHIP = tomllib.loads((FOLDER / "peripherals.toml").read_text("utf-8"))


def test_board_py_repeats_board_toml() -> None:
    tables: dict[str, object] = {}
    for node in ast.parse((FOLDER / "board.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Call):
            assert isinstance(node.targets[0], ast.Name)
            tables[node.targets[0].id] = ast.literal_eval(node.value)
    uarts = BOARD["uart"]
    assert tables["LINE"] == int(uarts["line"]["port"][-1])
    assert tables["LINK"] == int(uarts["link"]["port"][-1])
    parts = tables["PARTS"]
    assert isinstance(parts, dict)
    assert {name: number for name, (number, _baud) in parts.items()} == {
        part: int(entry["port"][-1])
        for entry in uarts.values()
        for part in entry.get("parts", {}).values()
    }
    assert tables["CHANNELS"] == {name: entry["pin"] for name, entry in BOARD["adc"].items()}
    assert tables["ONEWIRE"] == BOARD["onewire"]["bus"]["pin"]
    assert f"i2c{tables['I2C']}" == BOARD["i2c"]["bus"]["port"]


def test_bench_knows_every_role_and_the_chips_uarts() -> None:
    assert set(wiring.PORTS) == {map.role for map in MAPS}
    used = {uart for ports in wiring.PORTS.values() for uart in ports.values()}
    used |= {wiring.CONSOLE, *wiring.SPARE.values()}
    # The n-th serial port of QEMU's machine, in the order of the chip's numbers.
    assert used == set(qemu_command.UARTS) == set(CHIP["uart"])
    assert list(qemu_command.UARTS) == sorted(qemu_command.UARTS, key=lambda name: int(name[-1]))
    assert BOARD["uart"]["console"]["port"] == wiring.CONSOLE


def test_converter_shows_clear_water_until_a_test_says_otherwise() -> None:
    """1500 mV, and two thirds of 4200.2 mV, as 12 bits over 3300 mV."""
    assert BOARD["adc"]["ph"]["reference_mv"] == 3300
    channels = wiring.ADC_CHANNELS
    assert {channels["ph"]: 1861, channels["turbidity"]: 3475} == wiring.ADC_CODES


def test_store_is_where_everybody_looks_for_it() -> None:
    memory = CHIP["memory"]
    store = memory["store"]
    assert store["size"] == IMAGE_BYTES == SECTORS * SECTOR_BYTES
    # RM0090 table 5: sectors from 5 on have 128 KiB, and sector 5 begins at 128 KiB.
    first = memory["flash"]["base"] + (store["sectors"][0] - 4) * 0x20000
    assert (first, len(store["sectors"]), SECTOR_BYTES) == (store["base"], SECTORS, 0x20000)
    assert memory["flash"]["base"] == commands.FLASH_BASE
    assert (store["base"], store["size"]) == (wiring.STORE_ADDRESS, wiring.STORE_BYTES)
    assert store["base"] == STORE_ADDRESS == store_area(NAME)[0]
    suite = (ROOT / "hil/robot/node.resource").read_text("utf-8")
    assert f"sysbus.{wiring.CONSOLE} " in suite
    module = (FOLDER / "flash_store.c").read_text("utf-8")
    assert f"#define FIRST_SECTOR {store['sectors'][0]}u" in module
    assert "#define FIRST_ADDRESS STORE_BASE" in module


def test_slots_are_between_the_image_and_the_store() -> None:
    memory = CHIP["memory"]
    slots = memory["slots"]
    assert slots["sectors"] == [7, 8]
    assert slots["base"] == memory["flash"]["base"] + (slots["sectors"][0] - 4) * 0x20000
    assert slots["base"] >= memory["image"]["base"] + memory["image"]["size"]
    assert slots["base"] + slots["size"] <= memory["store"]["base"]
    text = (FOLDER / "applications.c").read_text("utf-8")
    assert f"#define FIRST_SECTOR {slots['sectors'][0]}u" in text


def test_memory_budgets_agree() -> None:
    memory, area = BOARD["memory"], CHIP["memory"]
    assert memory["image"] == area["image"]["size"]
    assert area["image"]["base"] + area["image"]["size"] <= area["store"]["base"]
    layout = (FOLDER / "layout.h").read_text("utf-8")
    found = re.search(r"#define LAYOUT_HEAP_MIN \((\d+) \* 1024\)", layout)
    assert found is not None
    assert int(found[1]) * 1024 == memory["heap"]


def test_every_converter_has_a_full_scale_that_its_probes_stay_within() -> None:
    """SEN0161-V2 gives 967.56 to 2032.44 mV from pH 10 to 4, SEN0189 at most 4200.2 mV."""
    highest = {"ph": 2032.44, "turbidity": 4200.2}
    boards = [name for name in specs.names() if "adc" in tables(name)]
    assert len(boards) >= 5
    for name in boards:
        for probe, entry in tables(name)["adc"].items():
            above, below = entry["divider_ohm"]
            pin_mv = highest[probe] * below / (above + below)
            limit = entry.get("linear_mv", entry["reference_mv"])
            assert 0.3 * limit < pin_mv < limit, (name, probe)
