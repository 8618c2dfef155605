"""The overlay: its grammar, and that it agrees with the image's own table of the chip."""

from __future__ import annotations

import ast
import tomllib

import pytest

from boards.folder import default_name
from hil.engines.wiring import (
    ADC_CHANNELS,
    CONSOLE,
    PART_BAUDS,
    PORTS,
    STORE_ADDRESS,
    STORE_BYTES,
)
from hil.errors import PlatformFileError
from hil.renode import commands, platform_file, stock
from tests.paths import ROOT

BOARD = ROOT / "boards" / default_name()


def test_new_names_are_new_and_overridden_names_exist() -> None:
    platform = platform_file.load(commands.OVERLAY)
    assert platform.uses == ["platforms/cpus/stm32f4.repl"]
    for entry in platform.entries.values():
        if entry.type:
            assert entry.name not in stock.NAMES, f"{entry.name} exists already"
            assert entry.base is not None
        else:
            assert entry.name in stock.NAMES, f"nothing is called {entry.name} in {platform.uses}"


def test_nothing_is_downloaded() -> None:
    text = commands.OVERLAY.read_text(encoding="utf-8")
    assert "://" not in text.replace("// ", "")
    # `init:` replaces the original's list; `init add:` would keep its download.
    assert "init add" not in text
    assert platform_file.load(commands.OVERLAY).entries["sysbus"].init == [
        'Tag <0x50000010, 0x5000003f> "USB:RESET" 0x80000000'
    ]


def test_interrupts_lead_somewhere() -> None:
    platform = platform_file.load(commands.OVERLAY)
    for entry in platform.entries.values():
        for _, target, _number in entry.irqs:
            assert target in stock.NAMES | set(platform.entries)


def test_the_bench_has_the_speeds_of_the_boards_parts() -> None:
    tree = ast.parse((BOARD / "board.py").read_text(encoding="utf-8"))
    (parts,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARTS"
    )
    assert {name: baud for name, (_uart, baud) in parts.items()} == PART_BAUDS


@pytest.mark.skipif(not (BOARD / "peripherals.toml").exists(), reason="no table of the C port here")
def test_the_chips_table_and_the_overlay_agree() -> None:
    table = tomllib.loads((BOARD / "peripherals.toml").read_text(encoding="utf-8"))
    entries = platform_file.load(commands.OVERLAY).entries
    for name, uart in table["uart"].items():
        assert entries[name].number("frequency") == table["clock"][uart["clock"]], name
        if entries[name].type:
            assert entries[name].base == uart["base"]
            assert entries[name].irqs == [("", "nvic", uart["irq"])]
    assert entries["nvic"].number("systickFrequency") == table["clock"]["sysclk"]
    assert entries["dwt"].number("frequency") == table["clock"]["sysclk"]
    assert entries["adc1"].base == table["adc"]["adc1"]["base"]
    assert table["system"]["unique_id"]["base"] == commands.UID_ADDRESS
    store = table["memory"]["store"]
    assert (store["base"], store["size"]) == (STORE_ADDRESS, STORE_BYTES)


@pytest.mark.skipif(not (BOARD / "board.toml").exists(), reason="no wiring of the board here")
def test_the_boards_wiring_and_the_engine_agree() -> None:
    wiring = tomllib.loads((BOARD / "board.toml").read_text(encoding="utf-8"))
    uart = {name: port["port"] for name, port in wiring["uart"].items()}
    assert uart["console"] == CONSOLE
    for ports in PORTS.values():
        assert (ports["line"], ports["link"]) == (uart["line"], uart["link"])
        for part, port in ports.items():
            if part not in ("line", "link"):
                assert port == uart["second" if part == "mhz19b" else "first"]
    for name, channel in ADC_CHANNELS.items():
        assert wiring["adc"][name]["channel"] == channel


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("  usart1:\n", "steps of four"),
        ("usart1: frequency\n", "expected `name: Type"),
        ("a: X.Y @ sysbus <0x1000 +1>\n", "expected <ADDRESS, +SIZE>"),
        ("usart1:\n    frequency 1\n", "expected `name: value`"),
        ("usart1:\nusart1:\n", "described twice"),
        ("    frequency: 1\n", "expected an entry"),
    ],
)
def test_a_wrong_line_is_named(text: str, complaint: str) -> None:
    with pytest.raises(PlatformFileError) as caught:
        platform_file.parse(text)
    assert complaint in str(caught.value)
    assert "text:" in str(caught.value)
