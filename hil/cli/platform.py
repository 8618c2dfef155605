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
    lose_every: Annotated[int, typer.Option(help="Answer nothing to each Nth frame.")] = 0,
    refuse_every: Annotated[int, typer.Option(help="Answer NAK to each Nth frame.")] = 0,
    close_every: Annotated[int, typer.Option(help="Close at each Nth frame.")] = 0,
    damage_every: Annotated[int, typer.Option(help="Damage each Nth answer.")] = 0,
    late_s: Annotated[float, typer.Option(help="Wait before each answer, seconds.")] = 0.0,
) -> None:
    """Be a centre station of SL 651: confirm what stations report, and show both directions.

    Example: tianfu-hil platform sl651 --port 7651 --lose-every 3
    """
    from hil.platform.sl651_centre import CentreFaults, Sl651Centre

    async def serve() -> None:
        faults = CentreFaults(lose_every, refuse_every, late_s, close_every, damage_every)
        centre = Sl651Centre(port=port, faults=faults, show=typer.echo)
        await centre.start()
        typer.echo(f"a centre station of SL 651 listens on 127.0.0.1:{centre.port}")
        try:
            await asyncio.Event().wait()
        finally:
            await centre.stop()

    asyncio.run(serve())
