"""The models for Renode: they compile against the names they use, and the observer does its work.

``names/Renode.cs`` lists the names and the versions of Renode that have them; ``names/Watched.cs``
is a machine around NodeWatch.cs, which runs under mono.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.renode.commands import WATCH_MODEL
from hil.tools import TOOLS

pytestmark = [pytest.mark.tool("mcs", "mono"), pytest.mark.timeout(60)]

NAMES = Path(__file__).parent / "names"
FLASH_CR, LOCK, PROGRAM, ERASE = "10", "80000000", "1", "10002"
CSR = "74"
POWER_ON, PIN, SOFTWARE, WATCHDOG = 0x0E000000, 0x04000000, 0x14000000, 0x24000000


def compiled(out: Path, *sources: Path, target: str = "exe") -> Path:
    command = ["mcs", "-warnaserror", f"-target:{target}", f"-out:{out}", *map(str, sources)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_model_compiles_with_the_names_of_renode(tmp_path: Path) -> None:
    models = sorted(WATCH_MODEL.parent.glob("*.cs"))
    assert [model.name for model in models] == ["LinePort.cs", "NodeWatch.cs", "Sht3xModel.cs"]
    for model in models:
        compiled(tmp_path / "model.dll", model, NAMES / "Renode.cs", target="library")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("watched") / "watched.exe"
    return compiled(out, WATCH_MODEL, NAMES / "Renode.cs", NAMES / "Watched.cs")


class Watched:
    """The machine: a process that answers a line with a line."""

    def __init__(self, program: Path) -> None:
        mono = TOOLS["mono"].find()
        assert mono is not None
        self._process = subprocess.Popen(
            [mono, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().rstrip("\n")

    def close(self) -> None:
        self._process.communicate(timeout=20)
        assert self._process.returncode == 0


@pytest.fixture
def machine(program: Path) -> Iterator[Watched]:
    made = Watched(program)
    yield made
    made.close()


def test_time_stands_from_a_cut_on(machine: Watched) -> None:
    machine("set CutAt 2")
    machine("store aa")
    machine(f"write flash_controller {FLASH_CR} {LOCK}")
    machine(f"write flash_controller {FLASH_CR} {PROGRAM}")
    assert machine("get Cut") == "False"
    assert machine("wait") == "1000"
    machine(f"write flash_controller {FLASH_CR} {ERASE}")
    assert machine("get Cut") == "True"
    # The bench takes a moment to see it: a core that is halted would let a second pass.
    assert machine("wait") == "1000"
    # The core runs on to the end of its block of instructions.
    machine("store 55")
    machine("call Restore")
    assert machine("stored") == "aa"
    assert (machine("get Cut"), machine("get CutAt"), machine("get Operations")) == (
        "False",
        "0",
        "2",
    )


def test_a_cut_comes_once(machine: Watched) -> None:
    machine("set CutAt 1")
    machine("store aa")
    machine(f"write flash_controller {FLASH_CR} {PROGRAM}")
    machine("store 55")
    machine("set Operations 0")
    machine(f"write flash_controller {FLASH_CR} {PROGRAM}")
    machine("call Restore")
    assert machine("stored") == "aa"


def test_both_uptimes_are_those_since_the_last_reset(machine: Watched) -> None:
    machine("set MillisecondsAt 200052a0")
    for _ in range(5):
        machine("wait")
    machine("tick 4")
    assert machine("get Uptime") == "5000 4"
    machine("reset")
    machine("wait")
    machine("tick 1")
    assert machine("get Uptime") == "1000 1"


def test_the_cause_of_each_reset_is_in_its_register(machine: Watched) -> None:
    def cause() -> int:
        """Return the flags, and clear them as the node does."""
        flags = int(machine(f"read {CSR}"), 16)
        machine(f"write rcc {CSR} 1000000")
        return flags

    assert cause() == POWER_ON
    machine("reset")
    assert cause() == WATCHDOG
    machine("write nvic d0c 05fa0004")
    machine("reset")
    assert cause() == SOFTWARE
    machine("call ExpectPin")
    machine("reset")
    assert cause() == PIN
    machine("call ExpectPowerOn")
    machine("reset")
    assert cause() == POWER_ON
    assert machine("read 70") == "00000000"
