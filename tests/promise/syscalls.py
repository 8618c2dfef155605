"""Errors and deaths at single system calls of the store and of the collector, by strace.

Which call, its number and the error are chosen from those that the process makes undisturbed: all
of them in the whole form, some in the short one. Numbers count by thread.
"""

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from tests.paths import ROOT

from .damage import backlog, flip_record, redeliver
from .site import Program, passed, until
from .trial import PERIODS, Row, Trial

_KILL: Final = "KILL"
_WRITE_ERRORS: Final = ("EIO", "ENOSPC", "EDQUOT", _KILL)
_READ_ERRORS: Final = ("EIO", _KILL)
_CALLS: Final = {
    "openat": ("EIO", "ENOSPC", "EMFILE", _KILL),
    "pread64": _READ_ERRORS,
    "read": _READ_ERRORS,
    "pwrite64": _WRITE_ERRORS,
    "write": _WRITE_ERRORS,
    "fdatasync": _WRITE_ERRORS,
    "fsync": _WRITE_ERRORS,
    "ftruncate": ("EIO", _KILL),
    "rename": _WRITE_ERRORS,
    "unlink": ("EIO", _KILL),
    "mkdir": _WRITE_ERRORS,
}
_MAX_NUMBER: Final = 24  # by then a process has opened its file and made several commits
_OUTBOX: Final = (
    *("outbox.db", "outbox.db-wal", "outbox.head", "outbox.reserve", "outbox.ready"),
    *("outbox.new", "outbox.new-wal", "outbox.readable", "quarantine"),
)
_HAPPENS_S: Final = 4.0  # a call that has not come by then does not come
_VERSION_1: Final = ROOT / "tests/unit/gateway_agent/collector_v1.sql"


class Injection(NamedTuple):
    """What happens to the ``number``-th call of a name: an error, or the end of the process."""

    call: str
    how: str
    number: int

    @property
    def option(self) -> str:
        """As strace has it."""
        what = f"signal={_KILL}" if self.how == _KILL else f"error={self.how}"
        return f"inject={self.call}:{what}:when={self.number}"


class Tracer:
    """Starts a program under strace, which sees the calls on these files alone."""

    def __init__(self, program: Program, files: Iterable[Path], log: Path) -> None:
        self.program = program
        self.files = list(files)
        self.log = log
        self.recorded: Sequence[str] = ()  # calls of which the log has everything

    async def start(self, injection: Injection | None = None) -> None:
        self.log.unlink(missing_ok=True)
        words = ["strace", "-D", "-f", "-q", "-o", str(self.log)]
        if injection is None or injection.how != _KILL:
            words.append("--seccomp-bpf")  # quicker, but where it stops no signal can be sent
        words += ["-e", f"trace={','.join(self.recorded or _CALLS)}"]
        if self.recorded:
            words += ["-y", "-s", str(1 << 20)]
        words += [word for file in self.files for word in ("-P", str(file))]
        if injection is not None:
            words += ["-e", injection.option]
        await self.program.start(*words)

    def has_happened(self) -> bool:
        """Whether the injected fault has happened, or the process has ended."""
        if not self.program.pid:
            return True
        return self.log.exists() and "(INJECTED)" in self.log.read_text(errors="replace")

    def calls(self) -> Counter[str]:
        """How many calls of each name the busiest thread has made."""
        by_thread: Counter[tuple[str, str]] = Counter()
        for line in self.log.read_text(errors="replace").splitlines():
            if found := re.match(r"(\d+) +(\w+)\(", line):
                by_thread[found[1], found[2]] += 1
        most: Counter[str] = Counter()
        for (_, name), count in by_thread.items():
            most[name] = max(most[name], count)
        return most


def chosen(trial: Trial, calls: Counter[str], short: int) -> Sequence[Injection]:
    """Choose what this run injects: the runs of the whole form share every number of every call."""
    every = [
        (name, number)
        for name, count in sorted(calls.items())
        for number in range(1, min(count, _MAX_NUMBER) + 1)
    ]
    mine = (
        trial.share(every) if trial.is_whole else trial.random.sample(every, min(short, len(every)))
    )
    return [
        Injection(name, trial.random.choice(_CALLS[name]), number)
        for name, number in mine
        if name in _CALLS
    ]


async def _inject(
    trial: Trial, tracer: Tracer, injection: Injection, then: Callable[[], Awaitable[object]]
) -> None:
    """Let one fault happen; a process that goes on has a moment, then it is killed."""
    await tracer.start(injection)
    try:
        await until(tracer.has_happened, "the call", _HAPPENS_S)
    except AssertionError:  # this process had no reason for so many calls
        await tracer.program.kill()
        return
    trial.faults += 1
    await then()
    await tracer.program.kill()


def _outbox_tracer(trial: Trial) -> Tracer:
    site = trial.site
    files = [site.state / name for name in _OUTBOX]
    return Tracer(site.gateway, [*files, site.state], site.root / "gateway.strace")


async def append_and_prune(trial: Trial) -> None:
    await trial.begin()
    tracer = _outbox_tracer(trial)
    await trial.site.gateway.kill()
    await tracer.start()
    await trial.site.stores(8)
    await trial.site.gateway.kill()
    for injection in chosen(trial, tracer.calls(), 3):
        await _inject(trial, tracer, injection, lambda: passed(trial.random.uniform(0, 900)))


async def collector_commit(trial: Trial) -> None:
    await trial.begin()
    site = trial.site
    tracer = Tracer(site.collector, _files_of(site.database), site.root / "collector.strace")
    await site.collector.kill()
    await tracer.start()
    await site.stores(8)
    await site.collector.kill()
    for injection in chosen(trial, tracer.calls(), 3):
        await _inject(trial, tracer, injection, lambda: passed(trial.random.uniform(0, 900)))


async def repair(trial: Trial) -> None:
    """Damage a group of the outbox; the repair fails at a call and is done by the next start."""
    await trial.begin()
    site, tracer = trial.site, _outbox_tracer(trial)
    calls: Counter[str] | None = None
    todo: list[Injection] = []
    while calls is None or todo:
        flip_record(trial, await backlog(trial))
        if calls is None:
            await tracer.start()
            await until(lambda: _is_open(trial), "the repair")
            calls = tracer.calls()
            todo = list(chosen(trial, calls, 2))
            await site.gateway.kill()
        else:
            await _inject(trial, tracer, todo.pop(), lambda: passed(300))
        await redeliver(trial)


def _is_open(trial: Trial) -> bool:
    status = trial.site.status()
    return status is not None and status.outbox is not None


async def migration(trial: Trial) -> None:
    """Start the collector on a database of version 1, while the gateway's records wait."""
    site = trial.site
    site.configure(PERIODS)
    await asyncio.to_thread(site.broker.kill)
    await site.gateway.start()
    tracer = Tracer(site.collector, _files_of(site.database), site.root / "collector.strace")
    _begin_version_1(site.database)
    before = _content(site.database)
    await tracer.start()
    await until(lambda: _content(site.database)[0] != 1, "the database is migrated")
    await site.collector.kill()
    for injection in chosen(trial, tracer.calls(), 3):
        _begin_version_1(site.database)
        await _inject(trial, tracer, injection, lambda: passed(200))
        after = _content(site.database)
        trial.check(after[0] != 1 or after == before, f"{injection} left half a migration")
    await asyncio.to_thread(site.broker.start)


def _begin_version_1(path: Path) -> None:
    for file in _files_of(path):
        file.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_VERSION_1.read_text())


def _content(path: Path) -> tuple[int, list[str]]:
    """Return the version of a collector's database, and everything in it."""
    with closing(sqlite3.connect(path, timeout=10)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        return version, list(database.iterdump())


def _files_of(database: Path) -> list[Path]:
    names = (database.name, f"{database.name}-wal", f"{database.name}-shm", "collector.head")
    return [database.with_name(name) for name in names]


ROWS = (
    Row(
        "calls of the outbox",
        "EIO, ENOSPC, EDQUOT or SIGKILL at a system call of opening, append and prune",
        append_and_prune,
        whole=4,
        tools=("strace",),
    ),
    Row(
        "calls of a repair",
        "the same while a damaged outbox is repaired",
        repair,
        whole=4,
        tools=("strace",),
    ),
    Row(
        "calls of the collector",
        "the same at a system call of the collector's opening and commit",
        collector_commit,
        whole=4,
        tools=("strace",),
    ),
    Row(
        "calls of a migration",
        "the same while a database of version 1 becomes one of today",
        migration,
        whole=4,
        tools=("strace",),
    ),
)
