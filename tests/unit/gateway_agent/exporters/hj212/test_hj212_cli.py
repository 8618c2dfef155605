"""The command line of `tianfu-gateway hj212`: exit statuses, and what a user gets wrong."""

import asyncio
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent.cli.hj212 import app
from hil.platform.hj212_platform import Hj212Faults, Hj212Platform

MN = "010000A8900016F000169DC0"


def run(*arguments: str) -> tuple[int, str]:
    """Run the command; return its status and what it printed or raised."""
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output + str(done.exception or "")


def test_the_profiles_are_listed() -> None:
    status, text = run("profiles")
    assert status == 0
    assert "fuzhou-dust: Fuzhou" in text
    assert "from implementations" in text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("try", "nowhere", "--mn", MN), "expected HOST:PORT"),
        (("try", "h:0", "--mn", MN), "expected HOST:PORT"),
        (("try", "127.0.0.1:1", "--mn", "short"), "this profile expects"),
        (("try", "127.0.0.1:1", "--mn", MN, "--profile", "x"), "expected a file or one of"),
        (("try", "127.0.0.1:1", "--mn", MN), "cannot be reached"),
        (("try", "127.0.0.1:1", "--mn", MN, "--profile", "hj212-2025"), "an SM4 key"),
        (("try", "127.0.0.1:1", "--mn", MN, "--key-file", "/none"), "32 hexadecimal"),
    ],
)
def test_what_is_wrong_is_named(arguments: tuple[str, ...], problem: str) -> None:
    status, text = run(*arguments)
    assert status != 0
    assert problem in text


class _Served:
    """A platform in a thread of its own."""

    def __init__(self, faults: Hj212Faults) -> None:
        self.platform = Hj212Platform(faults=faults)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> str:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.platform.start(), self._loop).result(5)
        return f"127.0.0.1:{self.platform.port}"

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.platform.stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


def test_the_status_says_whether_the_platform_is_good(tmp_path: Path) -> None:
    with _Served(Hj212Faults()) as address:
        status, text = run("try", address, "--mn", MN, "--listen", "0")
    assert (status, text.count("good 正常")) == (0, 6), text
    with _Served(Hj212Faults(close_every=2)) as address:
        status, text = run("try", address, "--mn", MN, "--listen", "0")
    assert status == 1
    assert "WRONG 异常: the platform closed the connection" in text
    assert sys.stdout is not None
