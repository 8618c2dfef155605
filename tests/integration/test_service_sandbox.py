"""What the unit of the service forbids, agent and collector do not do."""

import re
import subprocess
from pathlib import Path

import pytest

from gateway_agent.packaging.lock import HERE
from hil.site.mosquitto import MosquittoBroker
from tests.promise.site import Program, site_of, until

pytestmark = [pytest.mark.mosquitto, pytest.mark.tool("strace", "systemd-analyze")]
# prctl(2): no memory may become code, as MemoryDenyWriteExecute has it (Linux 6.3).
NO_NEW_CODE = "import ctypes; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) in (0, -1)"


def calls_of(name: str) -> set[str]:
    """Return the system calls of a set, those of the sets in it included."""
    command = ["systemd-analyze", "syscall-filter", "--no-pager", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    words = re.findall(r"^ {4}(@?[\w-]+)$", done.stdout, re.MULTILINE)
    inner = [calls_of(word) if word.startswith("@") else {word} for word in words]
    return set().union(*inner)


def allowed(unit: Path) -> set[str]:
    """Return the system calls that a unit leaves, line by line as systemd does."""
    found: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), re.MULTILINE):
        for word in line.removeprefix("~").split():
            calls = calls_of(word) if word.startswith("@") else {word}
            found = found - calls if line.startswith("~") else found | calls
    return found


def made(trace: Path) -> set[str]:
    """Return the system calls that strace has counted."""
    rows = re.findall(r"^\s*[\d.]+\s.*\s(\w+)$", trace.read_text(), re.MULTILINE)
    return set(rows) - {"total"}


async def test_every_system_call_is_one_that_the_unit_allows(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    async with site_of(broker, tmp_path) as site:
        site.configure([100])
        programs: dict[Program, str] = {site.gateway: "gateway", site.collector: "collector"}
        for program in programs:
            program.patch(NO_NEW_CODE)
            trace = tmp_path / f"{program.name}.trace"
            program.launcher = ("strace", "-D", "-f", "-c", "-o", str(trace))
            await program.start()
        await site.stores(3)
        for program, name in programs.items():
            program.send(15)
            assert await program.ended(30) == 0, program.log.read_text()
            trace = tmp_path / f"{program.name}.trace"
            await until(lambda path=trace: "total" in path.read_text(), "strace writes")  # type: ignore[misc] # bound now
            done = made(trace)
            assert {"clock_adjtime", "fdatasync", "sendto"} & done, trace.read_text()
            unit = HERE / "files" / name / f"tianfu-{name}.service"
            # execve is systemd's own; SQLite gives files to their directory's owner as root only.
            assert done - allowed(unit) <= {"execve", "fchown"}
