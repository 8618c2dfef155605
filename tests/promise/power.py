"""Power cuts: what was not synced is lost, and everything that left the machine before is not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .medium import RECORDED, Medium, calls_of
from .site import Program, passed, until
from .syscalls import Injection, Tracer
from .trial import Row, Trial

_CUT_AT: Final = ("pwrite64", "fdatasync", "fsync", "rename", "write")


async def _cut(trial: Trial, program: Program, folder: Path, names: Sequence[str]) -> None:
    """Run a program until it is killed, and leave what a power cut would have left."""
    choose = trial.random
    log = trial.site.root / f"{program.name}.power"
    for _ in range(trial.rounds(2, 10)):
        before = {n: (folder / n).read_bytes() for n in names if (folder / n).exists()}
        tracer = Tracer(program, [*(folder / name for name in names), folder], log)
        tracer.recorded = RECORDED
        # At a certain call, if it comes soon enough, or once some values are stored.
        at_call = Injection(choose.choice(_CUT_AT), "KILL", choose.randint(1, 30))
        await tracer.start(at_call if choose.random() < 0.5 else None)
        wanted = trial.site.stored() + choose.randint(1, 8)
        await until(lambda: not program.pid or trial.site.stored() >= wanted, "a cut")  # noqa: B023 # called now
        await program.kill()
        medium = Medium(folder, before)
        for call in calls_of(log.read_text("latin-1")):
            medium.apply(call)
        _check_model(medium, folder, names, log)
        for name in names:
            (folder / name).unlink(missing_ok=True)
        for name, content in medium.after_power_cut(choose).items():
            if name in names:
                (folder / name).write_bytes(content)
        trial.faults += 1
        await passed(choose.uniform(0, 500))
    await program.start()


def _check_model(medium: Medium, folder: Path, names: Sequence[str], log: Path) -> None:
    """Assert that what was recorded makes the files that are there, with all that is not synced."""
    if "= ?" in log.read_text("latin-1"):  # whether the last call was carried out is not known
        return
    for name, content in medium.now().items():
        if name in names and name != "outbox.reserve":
            assert content == (folder / name).read_bytes(), f"{name} is not what was recorded"


async def gateway_power(trial: Trial) -> None:
    await trial.begin()
    site = trial.site
    await site.gateway.kill()
    names = ["outbox.db", "outbox.db-wal", "outbox.head", "outbox.tmp", "outbox.reserve"]
    names += ["outbox.new", "outbox.new-wal", "outbox.ready"]
    await _cut(trial, site.gateway, site.state, names)


async def collector_power(trial: Trial) -> None:
    await trial.begin()
    site = trial.site
    await site.collector.kill()
    names = ["collector.db", "collector.db-wal", "collector.head", "collector.tmp"]
    await _cut(trial, site.collector, site.root, names)


ROWS = (
    Row(
        "gateway power cut",
        "the gateway is killed, and what it had not synced is lost, in part or all of it",
        gateway_power,
        tools=("strace",),
    ),
    Row(
        "collector power cut",
        "the same with the collector",
        collector_power,
        tools=("strace",),
    ),
)
