"""``tianfu-gateway keygen``: make keys for gateways, collectors and nodes."""

from pathlib import Path
from typing import Annotated

import typer

from gateway_agent.keys import (
    fingerprint,
    generate_node_key,
    generate_signing_key,
    public_path,
)
from protocols.identity import UID_RULE, parse_uid
from protocols.wire.node_key import MAX_KEY_ID

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Make keys: files only their owner can read, never overwritten.",
)

Out = Annotated[
    Path, typer.Option("--out", "-o", help="The private file to make.", show_default=False)
]


@app.command("gateway")
def gateway(out: Out) -> None:
    """Make a gateway's signing key, and its public half beside it for the collector.

    Example: tianfu-gateway keygen gateway --out keys/gateway.pem
    """
    _signing(out, "give this file to the collector: [[gateway]] keys")


@app.command("collector")
def collector(out: Out) -> None:
    """Make a collector's key for receipts, and its public half beside it for the gateways.

    Example: tianfu-gateway keygen collector --out keys/collector.pem
    """
    _signing(out, "give this file to the gateways: [uplink] collector_key")


@app.command("operator")
def operator(out: Out) -> None:
    """Make an operator's key for orders, and its public half beside it for the gateways.

    Example: tianfu-gateway keygen operator --out ana.pem
    """
    _signing(out, "give this file to the gateways: [orders] keys")


@app.command("enroll")
def enroll(out: Out) -> None:
    """Make the key that stations seal the keys of new nodes to, for a gateway or a collector.

    Example: tianfu-gateway keygen enroll --out enroll.pem
    """
    from gateway_agent.enrolment_keys import generate_enrolment_key
    from protocols.enrolment import recipient_id

    key = generate_enrolment_key(out)
    typer.echo(f"private key: {out} (secret)")
    typer.echo(
        f"public key:  {public_path(out)}; give this file to the stations: "
        f"tianfu-node log --seal {public_path(out).name}"
    )
    typer.echo(f"key id:      {recipient_id(key.public_key())}")


@app.command("node")
def node(
    out: Out,
    key_id: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_KEY_ID,
            help="A number that no earlier key of this node had: each key has its own numbering.",
        ),
    ] = 1,
    uid: Annotated[
        str,
        typer.Option(help="The node's unique id, 24 hex digits; the file names it then."),
    ] = "",
) -> None:
    """Make a node's key; the same file goes to node, gateway and (optional) collector.

    Example: tianfu-gateway keygen node --uid 0102030405060708090a0b0c --out keys/air-01.json
    """
    uid = uid.lower()
    node_uid = parse_uid(uid) if uid else None
    if uid and node_uid is None:
        raise typer.BadParameter(f"expected {UID_RULE}, got {uid!r}", param_hint="--uid")
    generate_node_key(out, key_id, node_uid)
    typer.echo(f"node key {key_id}: {out} (secret)")
    if uid:
        typer.echo(f'for the gateway\'s [[bus.device]]:\nuid = "{uid}"\nkey = "{out}"')


def _signing(out: Path, use: str) -> None:
    key = generate_signing_key(out)
    typer.echo(f"private key: {out} (secret)")
    typer.echo(f"public key:  {public_path(out)}; {use}")
    typer.echo(f"key id:      {fingerprint(key.public_key())}")
