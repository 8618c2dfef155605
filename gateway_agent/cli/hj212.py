"""``tianfu-gateway hj212``: try a platform that speaks HJ 212, and list its profiles."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gateway_agent.errors import OperatorError
from protocols.exit_status import FAULT, UNUSABLE

app = typer.Typer(no_args_is_help=True, help="Try a platform that speaks HJ 212 (污染物在线监控).")


class AddressError(OperatorError):
    """What the command line gives cannot be used."""

    exit_status = UNUSABLE


@app.command("profiles")
def profiles() -> None:
    """List the platforms that are known, and where that comes from."""
    from gateway_agent.uplink.hj212.profile import load_hj212_profile, shipped

    for name in shipped():
        profile = load_hj212_profile(name)
        typer.echo(f"{name}: {profile.title} {profile.title_zh}")
        for source in profile.sources:
            typer.echo(f"    {source}")


@app.command("try")
def try_(
    address: Annotated[str, typer.Argument(help="HOST:PORT of the platform.")],
    mn: Annotated[str, typer.Option(help="MN that the platform gave out for the site.")],
    profile: Annotated[str, typer.Option(help="Name of a profile, or a file.")] = "hj212-2017",
    st: Annotated[str, typer.Option(help="System type; that of the profile if not given.")] = "",
    pw: Annotated[str, typer.Option(help="Password of the MN.", envvar="HJ212_PW")] = "123456",
    key_file: Annotated[
        Path | None, typer.Option(help="File with the SM4 key, 32 hexadecimal digits.")
    ] = None,
    listen: Annotated[float, typer.Option(help="Seconds to listen when all is sent.")] = 5.0,
) -> None:
    """Send one frame of each kind and show what the platform makes of it, line by line.

    The values are made up and carry the flag M (maintenance). Status 1: the platform disliked
    something.

    Example: tianfu-gateway hj212 try --profile hj212-2017 --mn 010000A8900016F000169DC0 HOST:PORT
    """
    from gateway_agent.uplink.hj212.profile import load_hj212_profile
    from gateway_agent.uplink.hj212.trial import Hj212Trial

    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise AddressError(f"{address!r}: expected HOST:PORT, for example 10.0.0.1:7212")
    wanted = load_hj212_profile(profile)
    key = _key(key_file) if key_file is not None else b""
    trial = Hj212Trial(wanted, wanted.options(mn, st), wanted.settings(pw, key), typer.echo)
    try:
        outcome = asyncio.run(trial.run(host, int(port), listen))
    except OSError as error:
        raise OperatorError(f"{address} cannot be reached: {error}") from error
    typer.echo("")
    for sentence in outcome.good:
        typer.echo(f"good 正常: {sentence}")
    for sentence in outcome.disliked:
        typer.echo(f"WRONG 异常: {sentence}")
    if outcome.disliked:
        raise typer.Exit(FAULT)


def _key(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise AddressError(f"{path}: expected 32 hexadecimal digits: {error}") from error
