"""``tianfu-hil platform``: a platform that an uplink can be tried against, one command each."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

platform = typer.Typer(
    no_args_is_help=True,
    help="Play a platform on this machine: `tianfu-hil platform sl651 --port 7651`.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@platform.callback()
def _main() -> None:
    """Play a platform on this machine, to try an uplink against; Ctrl-C ends."""


@platform.command("sl651")
def sl651(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one.")] = 0,
    ask: Annotated[
        list[str] | None,
        typer.Option(help="Ask this of each station, a function or FUNCTION:HEX; again for more."),
    ] = None,
    lose_every: Annotated[int, typer.Option(help="Answer nothing to each Nth frame.")] = 0,
    refuse_every: Annotated[int, typer.Option(help="Answer NAK to each Nth frame.")] = 0,
    close_every: Annotated[int, typer.Option(help="Close at each Nth frame.")] = 0,
    damage_every: Annotated[int, typer.Option(help="Damage each Nth answer.")] = 0,
    late_s: Annotated[float, typer.Option(help="Wait before each answer, seconds.")] = 0.0,
) -> None:
    """Be a centre station of SL 651: confirm what stations report, and show both directions.

    Example: tianfu-hil platform sl651 --port 7651 --lose-every 3 --ask 37 --ask 3A:0311
    """
    from hil.platform.sl651_centre import CentreFaults, Sl651Centre

    try:
        parts = [one.partition(":") for one in ask or []]
        asks = [(int(function, 16), bytes.fromhex(more)) for function, _, more in parts]
    except ValueError as error:
        raise typer.BadParameter(f"expected FUNCTION or FUNCTION:HEX: {error}") from error

    async def serve() -> None:
        faults = CentreFaults(lose_every, refuse_every, late_s, close_every, damage_every)
        centre = Sl651Centre(port=port, asks=asks, faults=faults, show=typer.echo)
        await centre.start()
        typer.echo(f"a centre station of SL 651 listens on 127.0.0.1:{centre.port}")
        try:
            await asyncio.Event().wait()
        finally:
            await centre.stop()

    asyncio.run(serve())


@platform.command("sl427")
def sl427(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one.")] = 0,
    lose_every: Annotated[int, typer.Option(help="Answer nothing to each Nth report.")] = 0,
    close_every: Annotated[int, typer.Option(help="Close at each Nth report.")] = 0,
    damage_every: Annotated[int, typer.Option(help="Damage each Nth answer.")] = 0,
    late_s: Annotated[float, typer.Option(help="Wait before each answer, seconds.")] = 0.0,
) -> None:
    """Be a centre station of SL 427: confirm what stations report, and show both directions.

    Example: tianfu-hil platform sl427 --port 7427 --lose-every 3
    """
    from hil.platform.sl427_centre import Sl427Centre, Sl427Faults

    async def serve() -> None:
        faults = Sl427Faults(lose_every, late_s, close_every, damage_every)
        centre = Sl427Centre(port=port, faults=faults, show=typer.echo)
        await centre.start()
        typer.echo(f"a centre station of SL 427 listens on 127.0.0.1:{centre.port}")
        try:
            await asyncio.Event().wait()
        finally:
            await centre.stop()

    asyncio.run(serve())


@platform.command("hj212")
def hj212(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one.")] = 0,
    ask: Annotated[
        list[str] | None,
        typer.Option(help="Ask this of each device, CN or CN:CP; again for more."),
    ] = None,
    key: Annotated[str, typer.Option(help="SM4 key of the devices, 32 hexadecimal digits.")] = "",
    lose_every: Annotated[int, typer.Option(help="Answer nothing to each Nth frame.")] = 0,
    close_every: Annotated[int, typer.Option(help="Close at each Nth frame.")] = 0,
    damage_every: Annotated[int, typer.Option(help="Damage each Nth answer.")] = 0,
    late_s: Annotated[float, typer.Option(help="Wait before each answer, seconds.")] = 0.0,
    flood: Annotated[int, typer.Option(help="Send so many frames at each connection.")] = 0,
) -> None:
    """Be a platform of HJ 212: acknowledge and ask, and show both directions.

    Example: tianfu-hil platform hj212 --port 7212 --ask 1011 --ask "1062:RtdInterval=30"
    """
    from hil.platform.hj212_platform import Hj212Faults, Hj212Platform

    async def serve() -> None:
        asks = [tuple_of(text) for text in ask or ()]
        faults = Hj212Faults(lose_every, late_s, close_every, damage_every, flood)
        played = Hj212Platform(
            port=port, faults=faults, asks=asks, key=bytes.fromhex(key), show=typer.echo
        )
        await played.start()
        typer.echo(f"a platform of HJ 212 listens on 127.0.0.1:{played.port}")
        try:
            await asyncio.Event().wait()
        finally:
            await played.stop()

    def tuple_of(text: str) -> tuple[str, str]:
        cn, _, body = text.partition(":")
        return cn, body

    asyncio.run(serve())
