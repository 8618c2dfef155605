"""The service under a real systemd, closed as its unit closes it: live values, watchdog, reload.

And its stop.
"""

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hil.site.mosquitto import MosquittoBroker
from tests.promise.site import site_of

from .fresh_debian import FreshDebian, fresh_debian
from .test_deb import COMMAND, CONFIG, configure

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.mosquitto,
    pytest.mark.tool("debootstrap", "systemd-nspawn"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root starts a container"),
]
UNIT = "tianfu-gateway.service"
# The unit's own 30 s, for this test's sake.
WATCHDOG = "[Service]\nWatchdogSec=4\n"


def _init_of(container: int) -> str | None:
    """Return the child of systemd-nspawn that is process 1 in there; the first is a helper."""
    for child in Path(f"/proc/{container}/task/{container}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{child}/status").read_text()
            if re.search(r"^NSpid:.*\t1$", status, re.MULTILINE):
                return child
    return None


class Booted:
    """A system with systemd as its first process."""

    def __init__(self, container: int) -> None:
        deadline = time.monotonic() + 30
        while (init := _init_of(container)) is None:
            assert time.monotonic() < deadline, "systemd-nspawn starts nothing"
            time.sleep(0.05)
        self.init = init

    def run(self, *words: str) -> str:
        """Run a command in it; return what it prints, whatever its status is."""
        inside = ["nsenter", "--target", self.init, "--mount", "--pid", "--uts", "--ipc"]
        done = subprocess.run(
            [*inside, "--cgroup", *words], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    def shown(self, name: str) -> str:
        """Return a property of the service."""
        return self.run("systemctl", "show", UNIT, f"--property={name}", "--value").strip()


@contextmanager
def booted(debian: FreshDebian) -> Iterator[Booted]:
    """Boot it; it shares the network of this machine."""
    # With a /proc of its own: in this machine's, its journal takes our processes for its services'.
    own_proc = ["unshare", "--mount", "sh", "-c", 'umount "$0/proc" && exec "$@"', str(debian.root)]
    command = [*own_proc, "systemd-nspawn", "--keep-unit", "--register=no", "--quiet", "--boot"]
    with subprocess.Popen(
        [*command, "--directory", str(debian.root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as container:
        system = Booted(container.pid)
        try:
            yield system
        finally:
            # Ending systemd-nspawn itself would leave what it has started.
            os.kill(int(system.init), signal.SIGKILL)


async def becomes(condition: Callable[[], object], what: str) -> None:
    """Wait until ``condition()`` holds; each question is a program, so there are few of them."""
    for _ in range(60):
        if condition():
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"not within 30 s: {what}")


def digest_in_force(system: Booted) -> str:
    """Return the SHA-256 of the configuration that the service works with, as status shows it."""
    status = json.loads(system.run(COMMAND, "status", "--json", "--config", CONFIG))
    return str(status["configuration"]["digest"])


async def reload_takes_what_is_right_only(system: Booted, config: Path) -> None:
    """An edited file is in force after a reload; a wrong one is refused, the journal has why."""

    def reload(text: str) -> str:
        config.write_text(text)
        return system.run("systemctl", "reload", UNIT)

    def journal() -> str:
        return system.run("journalctl", "--unit", UNIT, "--output", "cat", "--no-pager")

    # In threads: the device answers in our loop, and a change is undone if it falls silent.
    main = system.shown("MainPID")
    edited = config.read_text().replace("timeout_ms = 500", "timeout_ms = 600")
    digest = hashlib.sha256(edited.encode()).hexdigest()
    assert digest_in_force(system) != digest
    assert await asyncio.to_thread(reload, edited) == "", "it succeeds without a word"
    assert await asyncio.to_thread(digest_in_force, system) == digest

    # One that cannot be read at all, and one that only the running gateway can refuse.
    for right, wrong, why in (
        ("timeout_ms = 600", 'timeout_ms = "soon"', r"timeout_ms: expected .*, got .*soon"),
        ('id = "gw-1"', 'id = "gw-2"', r"reload by .* refused: gateway\.id: expected .*gw-1"),
    ):
        assert "failed" in await asyncio.to_thread(reload, edited.replace(right, wrong)), wrong
        config.write_text(edited)  # status reads the file too, to find the service
        assert await asyncio.to_thread(digest_in_force, system) == digest
        found = ""
        for _ in range(30):  # what a program prints comes into the journal some time later
            found = await asyncio.to_thread(journal)
            if re.search(why, found):
                break
            await asyncio.sleep(0.5)
        else:
            raise AssertionError(f"not in the journal: {why}\n{found}")
    assert system.shown("ActiveState") == "active"
    assert system.shown("MainPID") == main, "it was never started again"


async def test_the_service_lives_under_systemd(
    packages: list[Path], broker: MosquittoBroker, tmp_path: Path
) -> None:
    [gateway] = [path for path in packages if "gateway" in path.name]
    with fresh_debian(tmp_path) as debian:
        debian.apt("update")
        debian.apt("install", debian.bring(gateway), "systemd-sysv", "dbus")
        drop_in = debian.root / f"etc/systemd/system/{UNIT}.d/test.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(WATCHDOG)
        async with site_of(broker, tmp_path / "site") as site:
            site.configure([20])
            keys = debian.root / "etc/tianfu/gateway"
            for name in ("counter.toml", "collector.pem.pub"):
                (keys / name).write_text((site.root / name).read_text())
            text = site.gateway_toml.read_text().replace(
                "collector.pem.pub", f"{keys.name}/collector.pem.pub"
            )
            configure(debian, text.replace("counter.toml", f"{keys.name}/counter.toml"))
            (site.root / "gateway.pem.pub").write_text((keys / "gateway.pem.pub").read_text())
            await site.collector.start()
            with booted(debian) as system:
                await site.stores(5)
                await becomes(lambda: system.shown("ActiveState") == "active", "READY=1")
                shown = system.run(COMMAND, "status", "--config", CONFIG)
                assert re.search(r"count \d+", shown), shown

                # A process that hangs is started again, and what it missed is named.
                main = system.shown("MainPID")
                system.run("sh", "-c", f"kill -STOP {main}")
                await becomes(lambda: system.shown("MainPID") not in (main, "0"), "a new start")
                assert system.shown("NRestarts") == "1"
                await site.stores(5)
                journal = system.run("journalctl", "--unit", UNIT, "--output", "json", "--no-pager")
                assert "Watchdog timeout" in journal
                assert '"PRIORITY":"4"' in journal or '"PRIORITY":"3"' in journal
                account = site.account(1)
                assert len(account.values) == len(set(account.values)), "each value once"
                assert account.missed("gateway_down") > 0

                await reload_takes_what_is_right_only(system, debian.root / CONFIG[1:])
                await site.stores(5)

                begin = time.monotonic()
                await asyncio.to_thread(system.run, "systemctl", "stop", UNIT)
                assert time.monotonic() - begin < 10
                assert system.shown("Result") == "success"
                assert system.shown("ActiveState") == "inactive"
