"""``tianfu-gateway audit``: prove a collector's database from the batches it keeps."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from rich.console import Console
from rich.progress import Progress

from gateway_agent.cli.audit_rebuild import rebuild as run_rebuild
from gateway_agent.cli.verify import GatewayKeys, JsonOutput, NodeKeys, node_keys
from gateway_agent.collector.archive_read import ArchiveReader, reader_beside
from gateway_agent.collector.audit import Audit
from gateway_agent.collector.audit_tables import AuditFinding, check_head_file, open_for_audit
from gateway_agent.collector.config import load
from gateway_agent.collector.keys import allowed_of, keys_of_gateways, keys_of_nodes
from gateway_agent.collector.rebuild import RebuildKeys
from gateway_agent.keys import load_private, load_public
from protocols.exit_status import FAULT, GOOD
from protocols.uplink import KeyLookup, NodeKeyLookup, key_id
from protocols.wire.hmac import HmacSha256

MAX_SHOWN: Final = 1000  # findings printed; all are counted


def audit(
    database: Annotated[Path, typer.Argument(help="The collector's database.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The collector's configuration: it names the keys."),
    ] = None,
    key: GatewayKeys = None,
    node_key: NodeKeys = None,
    collector_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The collector's public key: its archive's index."),
    ] = None,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Make the tables anew from the batches, and name as gaps what they do not prove.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rebuild into this new file; the old one stays."),
    ] = None,
    json_output: JsonOutput = False,
) -> None:
    """Prove every row of a collector's database from the signed batches it keeps.

    What is in the archive beside the database counts, whatever the database has. Rows that were
    changed, added or deleted since are named.

    Example: tianfu-gateway audit collector.db --config collector.toml

    The collector may run meanwhile. Exit status 0: every row is what was received and signed. 1: it
    is not, or the signatures were not checked because no key was named.

    Example: tianfu-gateway audit collector.db --config collector.toml --rebuild

    Stop the collector first, unless --out names a file. Exit status 0: the batches gave everything.
    1: gaps name what they did not give, or nothing was changed because it failed.
    """
    if rebuild or out is not None:
        if not rebuild:
            raise typer.BadParameter("expected it with --rebuild", param_hint="--out")
        run_rebuild(database, out, _rebuild_keys(config, key or [], node_key or []), json_output)
    keys, nodes = _keys(config, key or [], node_key or [])
    signer = _signer(config, collector_key)
    try:
        connection = open_for_audit(database)
        archive = reader_beside(connection, database, signer)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        typer.echo(f"{database}: {error}", err=True)
        raise typer.Exit(FAULT) from error
    with closing(connection):
        shown, run = _run(connection, database, archive, keys, nodes)
    good = not run.errors and run.signatures == run.kept
    if json_output:
        typer.echo(json.dumps(_result(run, archive, shown, good)))
    else:
        for finding in shown:
            typer.echo(str(finding), err=True)
        if run.errors > len(shown):
            typer.echo(f"and {run.errors - len(shown)} more", err=True)
        typer.echo(_summary(run, archive, good))
    raise typer.Exit(GOOD if good else FAULT)


def _signer(config: Path | None, public: Path | None) -> Ed25519PublicKey | None:
    """Return the collector's key; None if neither its configuration nor its key is named."""
    if public is not None:
        return load_public(public)
    if config is None:
        return None
    return load_private(load(config).collector.key).public_key()


def _keys(
    config: Path | None, keys: list[Path], nodes: list[str]
) -> tuple[KeyLookup | None, NodeKeyLookup | None]:
    named = {key_id(public): public for public in map(load_public, keys)}
    by_gateway: dict[str, dict[bytes, Ed25519PublicKey]] = {}
    of_nodes: dict[tuple[bytes, int], HmacSha256] = node_keys(nodes)
    if config is not None:
        loaded = load(config)
        by_gateway = keys_of_gateways(loaded)
        of_nodes = keys_of_nodes(loaded) | of_nodes

    def lookup(gateway: str, kid: bytes) -> Ed25519PublicKey | None:
        return by_gateway.get(gateway, {}).get(kid) or named.get(kid)

    return (
        lookup if named or by_gateway else None,
        (lambda uid, number: of_nodes.get((uid, number))) if of_nodes else None,
    )


def _rebuild_keys(config: Path | None, keys: list[Path], nodes: list[str]) -> RebuildKeys:
    named = {key_id(public): public for public in map(load_public, keys)}
    found = RebuildKeys({}, dict(node_keys(nodes)), named=named)
    if config is not None:
        loaded = load(config)
        found.gateways = keys_of_gateways(loaded)
        found.nodes = keys_of_nodes(loaded) | found.nodes
        found.allowed = allowed_of(loaded)
    if not named and not found.gateways:
        raise typer.BadParameter(
            "expected the gateways' keys, by --config or --key: nothing is proved without them",
            param_hint="--rebuild",
        )
    return found


def _run(
    connection: sqlite3.Connection,
    path: Path,
    archive: ArchiveReader | None,
    keys: KeyLookup | None,
    nodes: NodeKeyLookup | None,
) -> tuple[list[AuditFinding], Audit]:
    with Progress(
        console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True
    ) as progress:
        task = progress.add_task("batches", total=_count(connection))

        def show(number: int) -> None:
            progress.update(task, completed=number)

        run = Audit(connection, keys, nodes, show, archive)
        shown: list[AuditFinding] = []

        def findings() -> Iterator[AuditFinding]:
            for finding in check_head_file(connection, path):
                run.errors += 1
                yield finding
            yield from run.run()

        for finding in findings():
            if len(shown) < MAX_SHOWN:
                shown.append(finding)
    return shown, run


def _count(connection: sqlite3.Connection) -> int | None:
    try:
        (count,) = connection.execute("SELECT max(number) FROM batches").fetchone()
    except sqlite3.Error:
        return None
    return count if isinstance(count, int) else None


def _summary(run: Audit, archive: ArchiveReader | None, good: bool) -> str:
    verdict = "good" if good else "NOT GOOD" if run.errors else "NOT VERIFIED"
    text = (
        f"{verdict}: {run.batches} batches, {run.signatures} signatures verified, {run.records}"
        f" records, {run.readings} readings, {run.gaps} gaps, {run.refused} refused,"
        f" {run.repeated} repeated, {run.tags} node tags, {run.errors} errors"
    )
    if archive is not None:
        text += f"\narchive: batches 1 to {archive.last}, {archive.segments_read} files proved"
        if not archive.is_signed:
            text += "\nnote: its index was not verified: name the collector's key"
    if run.kept > run.signatures:
        text += f"\nnote: {run.kept - run.signatures} batches signed with a key not named here"
    if run.untagged:
        text += f"\nnote: {run.untagged} records of nodes whose key is not named here"
    if run.unproved:
        text += f"\nnote: {run.unproved} records of batches that a former release did not keep"
    if run.missing:
        text += f"\nnote: {run.missing} records are missing; gaps name them"
    return text


def _result(
    run: Audit, archive: ArchiveReader | None, findings: list[AuditFinding], good: bool
) -> dict[str, object]:
    return {
        "good": good,
        "batches": run.batches,
        "batches_kept": run.kept,
        "signatures": run.signatures,
        "node_tags": run.tags,
        "node_tags_unchecked": run.untagged,
        "records": run.records,
        "readings": run.readings,
        "gaps": run.gaps,
        "refused": run.refused,
        "repeated": run.repeated,
        "unproved": run.unproved,
        "missing": run.missing,
        "archived_to": 0 if archive is None else archive.last,
        "archive_files": 0 if archive is None else archive.segments_read,
        "archive_verified": archive is not None and archive.is_signed,
        "errors": run.errors,
        "findings": [finding._asdict() for finding in findings],
    }
