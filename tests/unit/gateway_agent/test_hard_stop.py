"""A stop ends whatever hangs: a task that refuses, a call that blocks the loop, a thread."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.unit.gateway_agent.store_help import open_box

LIMIT_S = 0.3
BEGIN = f"""
import asyncio, os, signal, sys, threading, time
from pathlib import Path
from gateway_agent.hard_stop import HardStop

def stop_on_signal(stop, secure=None):
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    HardStop(secure, {LIMIT_S}).arm(signal.SIGTERM)
    print("ready", flush=True)
"""
REFUSES = """
async def stubborn():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def main():
    task = asyncio.create_task(stubborn(), name="stubborn")
    stop_on_signal(task.cancel)
    await task

asyncio.run(main())
"""
BLOCKS = """
async def main():
    stop_on_signal(lambda: None)
    time.sleep(3600)

asyncio.run(main())
"""
THREAD = """
async def main():
    stop = asyncio.Event()
    threading.Thread(target=time.sleep, args=(3600,)).start()
    stop_on_signal(stop.set)
    await stop.wait()

asyncio.run(main())
"""
CLEAN = """
async def main():
    stop = asyncio.Event()
    stop_on_signal(stop.set)
    await stop.wait()
    print("stopped", flush=True)

asyncio.run(main())
"""
STORE = """
from tests.unit.gateway_agent.store_help import open_box, record
from gateway_agent.store.writer import OutboxWriter

async def main():
    writer = OutboxWriter(open_box(Path(sys.argv[1])))
    writer.start()
    stop_on_signal(lambda: None, writer.secure)
    # The loop puts records, and hangs before it learns that they are durable.
    for number in range(200):
        asyncio.ensure_future(writer.put([record(number)], {}))
    await asyncio.sleep(0)
    time.sleep(3600)

asyncio.run(main())
"""


def ended(code: str, *arguments: str) -> tuple[int, str, str, float]:
    """Run ``code``, send SIGTERM when it is ready: status, both outputs, seconds of the stop."""
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + code, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            output, errors = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, output, errors, time.monotonic() - begin


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (REFUSES, "task stubborn at <string>"),
        (BLOCKS, "task Task-1 at <string>"),
        (THREAD, "a thread"),
    ],
    ids=["a task that refuses", "a blocked loop", "a thread at the exit"],
)
def test_what_hangs_is_named_and_left(code: str, named: str) -> None:
    status, _, errors, seconds = ended(code)
    assert status == 1, errors
    assert f"the stop has not ended within {LIMIT_S} s" in errors
    assert named in errors
    assert LIMIT_S <= seconds < 10


def test_a_clean_stop_is_left_alone() -> None:
    status, output, errors, _ = ended(CLEAN)
    assert (status, output, errors) == (0, "stopped\n", "")


def test_what_the_outbox_was_given_is_durable_before_the_end(tmp_path: Path) -> None:
    status, _, errors, _ = ended(STORE, str(tmp_path / "state"))
    assert status == 1, errors
    box = open_box(tmp_path / "state")
    assert box.stats().last == 200
    assert box.context.counters.store_damaged == 0
    box.close()
