"""``tianfu-node sign``: an application gets the signature that nodes ask for."""

from pathlib import Path
from typing import Annotated

import typer

from boards.application import ApplicationError, manifest_of, release_key
from boards.application import sign as signed
from boards.errors import BoardError
from boards.provision import write_new
from protocols.exit_status import FAULT


def sign(
    application: Annotated[
        Path, typer.Argument(help="A file of `tianfu-node build --application`.")
    ],
    key: Annotated[Path, typer.Option(help="The release key: Ed25519, PEM, mode 0600.")],
    out: Annotated[Path, typer.Option(help="A new file for `tianfu-gateway update`.")],
) -> None:
    """Sign an application with the release key.

    Example: tianfu-node sign app.bin --key release.pem --out app.tfu

    A key is made with `openssl genpkey -algorithm ed25519 -out release.pem`; nodes take what it
    signs if they were provisioned with its public half. Exit status 0: signed, 1: not.
    """
    try:
        content = signed(_read(application), release_key(key))
        write_new(out, content)
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    manifest = manifest_of(content)
    typer.echo(
        f"{out}: version {manifest.version} for {manifest.board_class.decode()}, "
        f"{len(content)} bytes, key {manifest.key_id.hex()}, SHA-256 {manifest.digest.hex()}"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ApplicationError(f"{path}: expected an application, {error.strerror}") from error
