"""Faults of processes: killed, frozen, and stopped while broker and network vanish."""

import asyncio
import signal
from collections.abc import Callable
from functools import partial

from .site import Program, passed
from .trial import Row, Trial, stop

_AWAY_MS = 1500  # a process that was killed starts again after this at the latest


async def _killed(trial: Trial, program: Program, rounds: int) -> None:
    """Kill a process at random moments; the next one starts a random time later."""
    for _ in range(rounds):
        # Its start, too, takes some hundred milliseconds in which it may end.
        await passed(trial.random.uniform(0, 1500))
        await program.kill()
        trial.faults += 1
        await passed(trial.random.uniform(0, _AWAY_MS))
        await program.start()


async def kill_gateway(trial: Trial) -> None:
    await trial.begin()
    await _killed(trial, trial.site.gateway, trial.rounds(2, 12))


async def kill_collector(trial: Trial) -> None:
    await trial.begin()
    await _killed(trial, trial.site.collector, trial.rounds(2, 12))


async def kill_broker(trial: Trial) -> None:
    """A broker that is killed forgets everything: what was acknowledged, and retained receipts."""
    await trial.begin()
    broker = trial.site.broker
    for _ in range(trial.rounds(2, 12)):
        await passed(trial.random.uniform(0, 1500))
        await asyncio.to_thread(broker.kill)
        trial.faults += 1
        await passed(trial.random.uniform(0, _AWAY_MS))
        await asyncio.to_thread(broker.start)


async def kill_anything(trial: Trial) -> None:
    """Kill gateway, collector and broker in any order, also while another one is away."""
    await trial.begin()
    site, choose = trial.site, trial.random
    broker_runs = True
    for _ in range(trial.rounds(5, 20)):
        victim = choose.choice((site.gateway, site.collector, site.broker))
        if not isinstance(victim, Program):
            await asyncio.to_thread(site.broker.kill if broker_runs else site.broker.start)
            broker_runs = not broker_runs
        elif victim.pid:
            await victim.kill()
        else:
            await victim.start()
        trial.faults += 1
        await passed(choose.uniform(0, 800))
    if not broker_runs:
        await asyncio.to_thread(site.broker.start)


async def freeze(trial: Trial) -> None:
    """Freeze each process in turn (SIGSTOP), and let it go on (SIGCONT)."""
    await trial.begin()
    site, choose = trial.site, trial.random
    for _ in range(trial.rounds(1, 3)):
        for send in choose.sample(
            [site.gateway.send, site.collector.send, site.broker.send_signal], 3
        ):
            await passed(choose.uniform(0, 500))
            send(signal.SIGSTOP)
            trial.faults += 1
            await passed(choose.uniform(100, 3000))
            send(signal.SIGCONT)


async def stop_without_network(trial: Trial) -> None:
    """Send SIGTERM while, in the same instant, the broker ends or freezes and devices vanish."""
    await trial.begin()
    site, choose = trial.site, trial.random
    for again in range(trial.rounds(2, 6)):
        if again:
            await site.gateway.start()
            await site.stores(1)
        await passed(choose.uniform(0, 1500))
        number = choose.choice((signal.SIGSTOP, signal.SIGKILL))
        acts: list[Callable[[], None]] = [
            partial(site.gateway.send, signal.SIGTERM),
            partial(site.broker.send_signal, number),
            partial(site.device.silent.update, (1, 2)),
        ]
        choose.shuffle(acts)
        for act in acts:
            act()
        trial.faults += 1
        await stop(trial)
        await asyncio.to_thread(site.broker.restart)
        site.device.silent.clear()


ROWS = (
    Row("gateway killed", "SIGKILL to the gateway at random moments", kill_gateway),
    Row("collector killed", "SIGKILL to the collector at random moments", kill_collector),
    Row("broker killed", "SIGKILL to the broker, which keeps nothing", kill_broker),
    Row("all killed", "SIGKILL to the three in any order, overlapping", kill_anything),
    Row("frozen", "SIGSTOP to each of the three, and SIGCONT up to 3 s later", freeze),
    Row(
        "stopped without network",
        "SIGTERM to the gateway while broker and devices vanish in the same instant",
        stop_without_network,
    ),
)
