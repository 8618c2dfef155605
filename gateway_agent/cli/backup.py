"""``tianfu-gateway backup`` and ``restore``: of a gateway's outbox, or a collector's database."""

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gateway_agent import backup_files
from gateway_agent.backup_files import BackupError, BackupManifest, copy_durably
from gateway_agent.cli.verify import JsonOutput
from gateway_agent.clock import SystemClock
from gateway_agent.config import GatewayConfig, load
from gateway_agent.counters import Counters
from gateway_agent.outbox_answers import COPY_NAME
from gateway_agent.outbox_socket import SOCKET_NAME, OutboxQuestion, ask_outbox
from gateway_agent.store import restoring
from gateway_agent.store.errors import StoreError
from gateway_agent.store.medium import fitting
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.settings import StoreContext, StoreSettings
from gateway_agent.tables import read_toml
from protocols.exit_status import GOOD

Config = Annotated[
    Path,
    typer.Option("--config", "-c", help="Of the gateway or of the collector.", show_default=False),
]


def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    config: Config,
    json_output: JsonOutput = False,
) -> None:
    """Copy the outbox of a gateway, or the database of a collector, while it runs.

    Example: tianfu-gateway backup --config gateway.toml /backup/site-12-2026-11-28

    Example: tianfu-gateway backup --config collector.toml /backup/collector-2026-11-28

    The copy is of one moment. Keys and configuration are files of yours: keep them apart. The
    collector's archive is files that never change: copy the folder with any program.
    """
    if _is_collector(config):
        from gateway_agent.collector import backup as of_collector
        from gateway_agent.collector.config import load as load_collector

        database = load_collector(config).collector.database
        manifest = of_collector.back_up(database, folder)
        text = f"{folder}: database {manifest.name} up to batch {manifest.last}"
    else:
        manifest = _back_up_outbox(load(config), folder)
        text = f"{folder}: {manifest.name}, stream {manifest.stream} up to record {manifest.last}"
    _end(manifest, f"{text}, {manifest.size} bytes", json_output)


def restore(
    folder: Annotated[Path, typer.Argument(help="What `backup` has made.")],
    config: Config,
    json_output: JsonOutput = False,
) -> None:
    """Put a backup in the place of what is there; stop the gateway or the collector first.

    Example: tianfu-gateway restore --config gateway.toml /backup/site-12-2026-11-28

    What was there goes into the folder quarantine. An outbox begins a new stream: a sequence number
    is never used twice. A gap names what is not in the backup, and what the collector has already
    it stores no second time. A collector takes from its archive what the backup has not.
    """
    if _is_collector(config):
        from gateway_agent.collector import backup as of_collector
        from gateway_agent.collector.config import load as load_collector

        manifest = of_collector.put_back(load_collector(config), folder)
        text = (
            f"restored up to batch {manifest.last}, as of {manifest.made}; the next start takes"
            " from the archive beside it what that has more, and the gateways name the rest"
        )
    else:
        manifest, stream = _restore_outbox(load(config), folder)
        text = (
            f"restored stream {manifest.stream} up to record {manifest.last}, as of"
            f" {manifest.made}, as the new stream {stream}; a gap names what came after"
        )
    _end(manifest, text, json_output)


def _end(manifest: BackupManifest, text: str, json_output: bool) -> None:
    typer.echo(json.dumps(msgspec.to_builtins(manifest)) if json_output else text)
    raise typer.Exit(GOOD)


def _is_collector(config: Path) -> bool:
    return "collector" in read_toml(config)


def _context(config: GatewayConfig) -> StoreContext:
    directory = config.gateway.state_dir
    limit = fitting(directory, config.outbox.max_bytes)
    return StoreContext(
        StoreSettings(directory, config.gateway.id, limit), SystemClock(), Counters()
    )


def _back_up_outbox(config: GatewayConfig, folder: Path) -> BackupManifest:
    directory = config.gateway.state_dir

    def write(path: Path) -> tuple[str, int, int]:
        copy = directory / COPY_NAME
        try:
            if (directory / SOCKET_NAME).exists():
                answer, _ = ask_outbox(directory, OutboxQuestion("copy"))
                stream, last = answer.copied_stream, answer.copied_last
            else:
                outbox = Outbox.open(_context(config))
                try:
                    stats = outbox.copy_to(copy)
                    stream, last = stats.stream, stats.last
                finally:
                    outbox.close()
            copy_durably(copy, path)
        except StoreError as error:
            raise BackupError(f"{directory}: no backup was made: {error}") from error
        finally:
            copy.unlink(missing_ok=True)
        return config.gateway.id, stream, last

    return backup_files.make(folder, "gateway", write)


def _restore_outbox(config: GatewayConfig, folder: Path) -> tuple[BackupManifest, int]:
    manifest, file = backup_files.read(folder, "gateway")
    directory = config.gateway.state_dir
    if manifest.name != config.gateway.id:
        raise BackupError(
            f"{folder}: expected a backup of {config.gateway.id}, got one of {manifest.name}: a"
            " gateway has its own"
        )
    why = f"restored from a backup of {manifest.made}, which ends at record {manifest.last}"
    try:
        copy = directory / "outbox.restore.db"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy_durably(file, copy)
        return manifest, restoring.restore(_context(config), copy, why).stream
    except (StoreError, OSError) as error:
        raise BackupError(f"{directory}: {error}; what was there stays") from error
