"""main.py of a stock board has the wiring of its board.toml; its line drives the transceiver."""

import hashlib
import runpy
import sys
import types
from pathlib import Path

import pytest

from boards import spec as specs
from boards.errors import BoardError
from boards.flash.node_files import digest_of, main_file
from boards.folder import default_name

STOCK = [name for name in specs.names() if specs.load(name).stubs]


def wiring_of(board: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the made main.py hands to GenericBoard when it is run."""
    got: dict[str, object] = {}
    modules: dict[str, dict[str, object]] = {
        "boards.generic.board": {"GenericBoard": lambda **words: got.update(words)},
        "firmware.roles": {"make_role": None},
    }

    class NodeRun:
        def __init__(self, make_board: object, make_role: object) -> None:
            assert callable(make_board)
            self.run = make_board

    modules["firmware.node.run"] = {"NodeRun": NodeRun}
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    file = folder / "main.py"
    file.write_bytes(main_file(board))
    runpy.run_path(str(file))
    return got


def test_a_pico_names_pins_by_number_and_has_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = (1, {"tx": 4, "rx": 5, "txbuf": 260}, None)
    assert wiring_of("rpi_pico", tmp_path, monkeypatch) == {
        "line": (0, {"tx": 0, "rx": 1, "txbuf": 260}, 2),
        "parts": {"pms5003": (part, 9600), "a02yyuw": (part, 9600), "vc0706": (part, 38400)},
        "adc": {"ph": 26, "turbidity": 27},
        "i2c": (0, {"scl": 9, "sda": 8}),
        "onewire": 15,
    }


def test_a_pyboard_has_its_uarts_at_fixed_pins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wiring_of("pyboard_v11", tmp_path, monkeypatch) == {
        "line": (2, {}, "X2"),
        "parts": {
            "pms5003": ((3, {}, None), 9600),
            "a02yyuw": ((3, {}, None), 9600),
            "vc0706": ((3, {}, None), 38400),
            "mhz19b": ((6, {}, None), 9600),
        },
        "adc": {"ph": "X11", "turbidity": "X12"},
        "i2c": (1, {}),
        "onewire": "Y3",
    }


@pytest.mark.parametrize("board", STOCK)
def test_every_stock_board_gets_one(
    board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(wiring_of(board, tmp_path, monkeypatch)) == {
        "line",
        "parts",
        "adc",
        "i2c",
        "onewire",
    }


def test_an_own_image_needs_none() -> None:
    with pytest.raises(BoardError, match="expected a stock board"):
        main_file(default_name())


def test_the_digest_is_over_names_and_contents_in_the_boards_order() -> None:
    files = {"main.py": b"m", "firmware/a.mpy": b"a", "boards/z/b.mpy": b"b", "boards/c.mpy": b"c"}
    content = b"boards/c.mpy\0cboards/z/b.mpy\0bfirmware/a.mpy\0amain.py\0m"
    assert digest_of(files) == hashlib.sha256(content).hexdigest()


def test_the_transceiver_sends_for_exactly_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    class Uart:
        any = readinto = None

        def write(self, buf: bytes) -> int:
            happened.append(f"write {len(buf)}")
            return len(buf)

        def init(self, *, baudrate: int, rxbuf: int, tx: int) -> None:
            happened.append(f"init {baudrate} {rxbuf} {tx}")

        def flush(self) -> None:
            happened.append("sent")

    class Pin:
        def value(self, level: int) -> None:
            happened.append(f"de {level}")

    monkeypatch.setitem(sys.modules, "machine", types.ModuleType("machine"))
    path = Path(specs.__file__).parent / "generic" / "board.py"
    line_class = runpy.run_path(str(path))["GenericLine"]
    monkeypatch.setattr("asyncio.StreamReader", lambda uart: None)
    assert line_class(Uart(), Pin(), {}).write(memoryview(b"frame")) == 5
    assert happened == ["de 1", "write 5", "sent", "de 0"]
    happened.clear()
    line_class(Uart(), None, {}).write(memoryview(b"frame"))
    assert happened == ["write 5"]
