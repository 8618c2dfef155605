"""Run by test_failing_calls.py under strace: ``... DIRECTORY SCENARIO CALL ERRNO AT STEP``.

strace makes the call number AT (and perhaps all later ones) of each process fail with ERRNO. Each
trial is a process of its own, forked from this one, which has everything imported already. It first
makes so many empty calls that the one to fail is the n-th of the scenario: n = 1, 1 + STEP, and so
on to the last one. Then another process opens what the trial left behind, without a failure, and
counts. Prints a line for each trial: n, how it ended, what is wrong.
"""

import fcntl
import json
import logging
import mmap
import os
import shutil
import sqlite3
import sys
import traceback
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, NamedTuple

from gateway_agent.collector.receiver import ACCEPTED
from gateway_agent.store.errors import StoreError
from tests.unit.gateway_agent.store_help import contents, gaps, numbers, open_box, records
from tests.unit.gateway_agent.test_collector import Chain, Collector, readings

COUNT: Final = 300
GROUP: Final = 30
BATCHES: Final = 3
VERSION_1: Final = Path(__file__).with_name("collector_v1.sql")

CLOSED: Final = 1_000_000  # no file has this descriptor
NOWHERE: Final = Path("/no such directory/file")

# A call of each kind that changes nothing; it fails with an error that is never injected.
EMPTY: Final[dict[str, Callable[[], object]]] = {
    "openat": lambda: os.open("", os.O_RDONLY),
    "pread64": lambda: os.pread(-1, 1, 0),
    "read": lambda: os.read(-1, 1),
    "pwrite64": lambda: os.pwrite(-1, b"", 0),
    "write": lambda: os.write(-1, b""),
    "fdatasync": lambda: os.fdatasync(CLOSED),
    "fsync": lambda: os.fsync(CLOSED),
    "ftruncate": lambda: os.ftruncate(-1, 0),
    "rename": lambda: NOWHERE.rename(NOWHERE),
    "unlink": NOWHERE.unlink,
    "mkdir": NOWHERE.mkdir,
    "fcntl": lambda: fcntl.fcntl(CLOSED, fcntl.F_GETFD),
}


class Scenario(NamedTuple):
    """``prepare`` a directory, ``act`` on it, then ``check`` with what ``act`` has acknowledged."""

    prepare: Callable[[Path], None]
    act: Callable[[Path, Callable[[int], None]], None]
    check: Callable[[Path, int], str]


# --- the outbox ----------------------------------------------------------------------------------


def filled(root: Path) -> None:
    with closing(open_box(root)) as box:
        for first in range(1, COUNT + 1, GROUP):
            box.append(records(first, GROUP), {})


def damaged(root: Path) -> None:
    filled(root)
    path = root / "outbox.db"
    content = bytearray(path.read_bytes())
    content[content.index(records(1 + GROUP, 1)[0].data)] ^= 1
    path.write_bytes(content)


def damaged_twice(root: Path) -> None:
    damaged(root)
    path = root / "outbox.db"
    path.write_bytes(b"\1" + path.read_bytes()[1:])


def open_it(root: Path, _: Callable[[int], None]) -> None:
    open_box(root).close()


def new_stream(root: Path, _: Callable[[int], None]) -> None:
    with closing(open_box(root)) as box:
        box.rebuild("db_truncated", "the collector has another head")


def append(root: Path, acknowledge: Callable[[int], None]) -> None:
    with closing(open_box(root)) as box:
        for first in range(COUNT + 1, COUNT + 1 + 4 * GROUP, GROUP):
            box.append(records(first, GROUP), {})
            acknowledge(first + GROUP - 1)


def prune(root: Path, _: Callable[[int], None]) -> None:
    with closing(open_box(root)) as box:
        piece = box.slice(0, COUNT // 2, 1 << 30)
        assert piece is not None
        box.release(piece.stream, piece.last, piece.head)


def outbox_of(root: Path) -> tuple[list[int], list[tuple[str, int | None, int | None]]]:
    with closing(open_box(root)) as box:
        pieces = contents(box, 500)
    return numbers(pieces), gaps(pieces)


def ranges(holes: list[tuple[str, int | None, int | None]]) -> list[tuple[int | None, int | None]]:
    """What is missing. A page that could not be read for once was repaired, and nothing is."""
    return [(first, last) for _, first, last in holes if first is not None]


def has_all(root: Path, acknowledged: int) -> str:
    found, holes = outbox_of(root)
    good = found == list(range(1, len(found) + 1)) and len(found) >= max(COUNT, acknowledged)
    return "" if good and not ranges(holes) else f"{len(found)} records, gaps {holes}"


def has_all_but_the_group(root: Path, _: int) -> str:
    found, holes = outbox_of(root)
    left = [*range(1, GROUP + 1), *range(2 * GROUP + 1, COUNT + 1)]
    good = found == left and ranges(holes) == [(GROUP + 1, 2 * GROUP)]
    return "" if good else f"{len(found)} records, gaps {holes}"


def has_all_or_half(root: Path, _: int) -> str:
    found, holes = outbox_of(root)
    ends = found[-1:] == [COUNT] and found[0] in (1, COUNT // 2 + 1)
    good = ends and found == list(range(found[0], COUNT + 1)) and not ranges(holes)
    return "" if good else f"{found[:1]} to {found[-1:]}, {len(found)} records, gaps {holes}"


def begun(root: Path, acknowledged: int) -> str:
    found, holes = outbox_of(root)
    good = found == list(range(COUNT + 1, COUNT + 1 + len(found)))
    good = good and COUNT + len(found) >= acknowledged
    good = good and not ranges(holes)
    return "" if good else f"{len(found)} of {acknowledged} records, gaps {holes}"


# --- the collector -------------------------------------------------------------------------------


def batches() -> list[bytes]:
    chain = Chain()
    return [chain.batch(readings(5 * n + 1, 5 * n + 5)) for n in range(2 * BATCHES)]


def collected(root: Path) -> None:
    collector = Collector(root)
    for data in batches()[:BATCHES]:
        collector.take(data, ACCEPTED)
    collector.database.close()


def version_1(root: Path) -> None:
    with closing(sqlite3.connect(root / "collector.db")) as database:
        database.executescript(VERSION_1.read_text())


def collect(root: Path, acknowledge: Callable[[int], None]) -> None:
    collector = Collector(root)
    try:
        for number, data in enumerate(batches()[BATCHES:], BATCHES + 1):
            collector.take(data, ACCEPTED)
            acknowledge(number)
    finally:
        collector.database.close()


def begin_collector(root: Path, _: Callable[[int], None]) -> None:
    Collector(root).database.close()


def holds_batches(root: Path, acknowledged: int) -> str:
    collector = Collector(root)
    kept = collector.rows("SELECT data FROM batches ORDER BY number")
    values = collector.rows("SELECT count(*) FROM readings")
    alarms = collector.database.alarms
    collector.database.close()
    expected = batches()
    good = len(kept) >= max(BATCHES, acknowledged) and values == [(10 * len(kept),)]
    good = good and [data for (data,) in kept] == expected[: len(kept)] and not alarms
    return "" if good else f"{len(kept)} of {acknowledged} batches, {values} values, {alarms}"


def holds_version_1(root: Path, _: int) -> str:
    collector = Collector(root)
    found = collector.rows(
        "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM readings)"
        ", (SELECT count(*) FROM refused), (SELECT count(*) FROM batches)"
    )
    collector.database.close()
    return "" if found == [(7, 16, 1, 4)] else f"{found}"


def opens(root: Path, _: int) -> str:
    Collector(root).database.close()
    return ""


SCENARIOS: Final = {
    "begin": Scenario(lambda root: None, append, begun),
    "append": Scenario(filled, append, has_all),
    "prune": Scenario(filled, prune, has_all_or_half),
    "new stream": Scenario(filled, new_stream, has_all),
    "repair": Scenario(damaged, open_it, has_all_but_the_group),
    "repair first page": Scenario(damaged_twice, open_it, has_all_but_the_group),
    "collector begin": Scenario(lambda root: None, begin_collector, opens),
    "collector commit": Scenario(collected, collect, holds_batches),
    "collector migration": Scenario(version_1, begin_collector, holds_version_1),
}


# --- the trials ----------------------------------------------------------------------------------


def in_a_process(work: Callable[[], int]) -> int:
    """Do ``work`` in a forked process; return its exit status."""
    child = os.fork()
    if not child:
        status = 99
        try:
            status = work()
        except BaseException:  # noqa: BLE001 # the parent sees the status, people the traceback
            with suppress(Exception):
                traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def quietly(work: Callable[[], object]) -> None:
    """Do what is to be disturbed by nothing in a process of its own: it makes few calls."""

    def done() -> int:
        work()
        return 0

    assert in_a_process(done) == 0


ENDS: Final = ("done", "StoreError", "OSError", "SQLite")


def count_calls(scenario: Scenario, root: Path, call: str, at: int, code: int) -> int:
    """Let the scenario run undisturbed; return how many calls it makes."""
    shared = mmap.mmap(-1, 8)

    def act() -> int:
        scenario.act(root, lambda _: None)
        for made in range(at):
            try:
                EMPTY[call]()
            except OSError as error:
                if error.errno == code:
                    shared[:8] = (at - 1 - made).to_bytes(8)
                    return 0
        return 1

    assert in_a_process(act) == 0, f"expected fewer than {at} calls of {call}"
    return int.from_bytes(shared[:8])


def trial(scenario: Scenario, root: Path, call: str, number: int, at: int) -> str:
    """Let the ``number``-th call fail; return how that ended and what is wrong after it."""
    shared = mmap.mmap(-1, 8)

    def acknowledge(value: int) -> None:
        shared[:8] = value.to_bytes(8)

    def act() -> int:
        empty = EMPTY[call]
        for _ in range(at - number):
            with suppress(OSError):
                empty()
        try:
            scenario.act(root, acknowledge)
        except StoreError:
            return 1
        except OSError:
            return 2
        except sqlite3.Error:
            return 3
        return 0

    ended = in_a_process(act)
    name = ENDS[ended] if 0 <= ended < len(ENDS) else f"status {ended}"
    problem = mmap.mmap(-1, 4096)

    def check() -> int:
        text = scenario.check(root, int.from_bytes(shared[:8])).encode()[:4000]
        problem[: len(text)] = text
        return 0

    status = in_a_process(check)
    wrong = problem[:].rstrip(b"\0").decode() or ("" if not status else "it cannot be opened")
    return json.dumps([number, name, wrong])


def main(root: Path, name: str, call: str, code: int, at: int, step: int) -> None:
    logging.disable(logging.CRITICAL)
    scenario = SCENARIOS[name]
    source, work = root / "source", root / "work"
    source.mkdir()
    quietly(lambda: scenario.prepare(source))
    quietly(lambda: shutil.copytree(source, work))
    calls = count_calls(scenario, work, call, at, code)
    for number in range(1, calls + 1, step):
        quietly(lambda: shutil.rmtree(work))
        quietly(lambda: shutil.copytree(source, work))
        print(trial(scenario, work, call, number, at), flush=True)  # noqa: T201 # the test reads it


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
