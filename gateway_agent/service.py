"""Runs the agent as a process, until a signal stops it: what ``tianfu-gateway run`` does."""

import asyncio
import errno
import logging
from pathlib import Path
from typing import Final

from gateway_agent import threads
from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import SystemClock
from gateway_agent.counters import Counters
from gateway_agent.errors import OperatorError
from gateway_agent.open_files import REMEDY, check_open_files
from gateway_agent.process import stop_on_signal
from gateway_agent.reload.in_force import ConfigSource, source_at_start
from gateway_agent.store.errors import StoreFailed
from gateway_agent.store.medium import too_small
from gateway_agent.supervisor import ServiceState, Supervisor
from gateway_agent.tables import ConfigError
from protocols.exit_status import STORE_FAILED

log = logging.getLogger(__name__)

_UNUSABLE: Final = (
    "gateway.state_dir has to be a directory that this user can write: change its rights, or name"
    " another one"
)
_NO_ROOM: Final = (
    "no room for gateway.state_dir on the file system {mount}: make some there, then start again"
)
# Faults that a new start does not mend.
_REMEDIES: Final = {
    errno.EACCES: _UNUSABLE,
    errno.EPERM: _UNUSABLE,
    errno.EEXIST: _UNUSABLE,
    errno.ENOTDIR: _UNUSABLE,
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EMFILE: REMEDY,
    errno.ENFILE: REMEDY,
    errno.EROFS: (
        "the file system {mount} is mounted read-only: see with `dmesg` whether the medium is"
        " failing, make it writable (`mount -o remount,rw {mount}`) or name another"
        " gateway.state_dir, then start again"
    ),
}


class _StoreFailedError(OperatorError):
    exit_status = STORE_FAILED


def run(config: Path) -> None:
    """Poll, record and deliver until a signal. OperatorError: why that is not possible."""
    source = source_at_start(config)
    loaded = source.config
    problems = too_small(loaded.gateway.state_dir, config)
    if problems:
        raise ConfigError(problems)
    check_open_files(len(loaded.bus))
    try:
        threads.run(_serve(source))
    except StoreFailed as error:
        remedy = _remedy(error, loaded.gateway.state_dir)
        raise _StoreFailedError(f"{error}; {remedy}") from error


def _remedy(error: StoreFailed, directory: Path) -> str:
    cause = error.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    if number not in _REMEDIES:
        return "start again to recover from what is on the medium"
    path = directory.resolve()
    mount = next(place for place in (path, *path.parents) if place.is_mount())
    return _REMEDIES[number].format(mount=mount)


async def _serve(source: ConfigSource) -> None:
    config, manager = source.config, Supervisor()
    agent = GatewayAgent(config, SystemClock(), Counters(), source)
    reloads: set[asyncio.Task[None]] = set()

    def stop() -> None:
        manager.stopping()
        agent.request_stop()

    def state() -> ServiceState:
        progress = agent.progress
        return ServiceState(agent.is_started, progress.is_alive, progress.summary())

    async def reload_file() -> None:
        if agent.reloader is None:
            log.warning("SIGHUP: nothing is reloaded while the outbox is not open")
            return
        with manager.reloading():
            await agent.reloader.apply_file("SIGHUP")

    def reload() -> None:
        task = asyncio.get_running_loop().create_task(reload_file())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    stop_on_signal(stop, agent.secure, reload)
    log.info("gateway %s, state in %s", config.gateway.id, config.gateway.state_dir)
    with manager.following(state):
        try:
            await agent.run()
        finally:
            for task in reloads:
                task.cancel()
    log.info("stopped")
