"""``tianfu-gateway verify``: check batches offline, with nothing but public keys."""

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway_agent.keys import load_node_key, load_public
from protocols.exit_status import FAULT, GOOD
from protocols.identity import UID_RULE, parse_uid
from protocols.uplink import Finding, Inspection, NodeKeyLookup, key_id
from protocols.wire.hmac import HmacSha256

MAX_INPUT_BYTES: Final = 256 << 20
SQLITE_MAGIC: Final = b"SQLite format 3\0"

# Options that `audit` has, too.
GatewayKeys = Annotated[
    list[Path] | None,
    typer.Option("--key", "-k", help="A gateway's public key; may be given more than once."),
]
NodeKeys = Annotated[
    list[str] | None,
    typer.Option(metavar="UID=FILE", help="A node's key, to verify its tags too; may be repeated."),
]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def verify(
    file: Annotated[
        str,
        typer.Argument(help="A file of batches, a collector's database, or - for standard input."),
    ],
    key: GatewayKeys = None,
    node_key: NodeKeys = None,
    json_output: JsonOutput = False,
) -> None:
    """Verify signatures, chain and contents of batches; print what is wrong and at which byte.

    Example: tianfu-gateway verify batch.cose --key keys/gateway.pem.pub

    Exit status 0: everything in the file is as it was signed. 1: it is not, or the signatures were
    not checked because there was no --key.
    """
    keys = {key_id(public): public for public in map(load_public, key or [])}

    def lookup(_: str, kid: bytes) -> Ed25519PublicKey | None:
        return keys.get(kid)

    data = _kept_batches(Path(file)) if _is_database(file) else _read(file)
    inspection = Inspection(lookup if keys else None, _lookup(node_keys(node_key or [])))
    findings = list(inspection.run(data))
    good = not inspection.errors and inspection.signatures == inspection.batches > 0
    if json_output:
        typer.echo(json.dumps(_result(inspection, findings, good)))
    else:
        for finding in findings:
            typer.echo(f"{finding.severity}: {finding}", err=finding.is_error)
        tags = f", {inspection.tags} node tags" if node_key else ""
        verdict = "good" if good else "NOT GOOD" if inspection.errors else "NOT VERIFIED"
        typer.echo(
            f"{verdict}: {inspection.batches} batches, {inspection.signatures} signatures"
            f" verified{tags}, {inspection.records} records, {inspection.readings} readings,"
            f" {inspection.gaps} gaps, {inspection.errors} errors"
        )
    raise typer.Exit(GOOD if good else FAULT)


def _is_database(file: str) -> bool:
    try:
        with Path(file).open("rb") as source:
            return source.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    except OSError:
        return False  # reading it for good gives the reason


def _kept_batches(path: Path) -> bytes:
    """Return the batches that a collector's database keeps, stream by stream."""
    import sqlite3  # most inputs are files of batches

    from gateway_agent.collector.database import open_readonly
    from gateway_agent.collector.missing import MissingRecords

    try:
        with closing(open_readonly(path)) as connection:
            (size,) = connection.execute("SELECT sum(length(data)) FROM batches").fetchone()
            if (size or 0) > MAX_INPUT_BYTES:
                raise typer.BadParameter(
                    f"{path}: {size} bytes of batches, expected at most {MAX_INPUT_BYTES}; use"
                    " `tianfu-gateway audit`",
                    param_hint="FILE",
                )
            rows = connection.execute("SELECT data FROM batches ORDER BY stream_id, last")
            kept = (data for (data,) in rows)
            return b"".join(data for data in kept if MissingRecords.unpack(data) is None)
    except (sqlite3.Error, TypeError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="FILE") from error


def _read(file: str) -> bytes:
    try:
        if file == "-":
            data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        else:
            with Path(file).open("rb") as source:
                data = source.read(MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from error
    if len(data) > MAX_INPUT_BYTES:
        raise typer.BadParameter(
            f"{file}: expected at most {MAX_INPUT_BYTES} bytes; split it", param_hint="FILE"
        )
    return data


def node_keys(arguments: Sequence[str]) -> dict[tuple[bytes, int], HmacSha256]:
    """Load the keys of ``--node-key`` arguments, by unique id and key id."""
    nodes: dict[tuple[bytes, int], HmacSha256] = {}
    for argument in arguments:
        uid, _, name = argument.partition("=")
        raw = parse_uid(uid)
        if raw is None or not name:
            raise typer.BadParameter(
                f"expected UID=FILE with a unique id of {UID_RULE}, got {argument!r}",
                param_hint="--node-key",
            )
        number, secret = load_node_key(Path(name), raw)
        nodes[raw, number] = HmacSha256(secret)
    return nodes


def _lookup(nodes: dict[tuple[bytes, int], HmacSha256]) -> NodeKeyLookup | None:
    return (lambda uid, number: nodes.get((uid, number))) if nodes else None


def _result(inspection: Inspection, findings: Sequence[Finding], good: bool) -> dict[str, object]:
    return {
        "good": good,
        "batches": inspection.batches,
        "signatures": inspection.signatures,
        "node_tags": inspection.tags,
        "records": inspection.records,
        "readings": inspection.readings,
        "gaps": inspection.gaps,
        "errors": inspection.errors,
        "findings": [
            {
                "severity": finding.severity,
                "batch": finding.batch,
                "record": finding.record,
                "seq": finding.seq,
                "offset": finding.offset,
                "in_pack": finding.in_pack,
                "message": finding.message,
                "expected": _plain(finding.expected),
                "got": _plain(finding.got),
            }
            for finding in findings
        ],
    }


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, (int, str)) else str(value)
