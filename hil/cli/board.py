"""``tianfu-hil board``: an emulated board in its bootloader, to try `tianfu-node flash` on."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protocols.exit_status import FAULT

if TYPE_CHECKING:
    from hil.boot_rom.cable import BootRomBoard
    from hil.boot_rom.started import StartedBoard

_PERIOD_S = 20.0


def board(
    folder: Annotated[Path, typer.Argument(help="Gets the ports: `port` and `bus`.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND...]", help="Run this, then end with its status."),
    ] = None,
    period_s: Annotated[
        float | None,
        typer.Option(
            "--power-cycle-every",
            metavar="S",
            help="Take its power away and give it back every S seconds; 20 with a COMMAND.",
        ),
    ] = None,
) -> None:
    """Offer a blank STM32F405 with BOOT0 high at FOLDER/port, its bus at FOLDER/bus.

    After the bootloader's "go" QEMU runs what was flashed. Enter sets BOOT0 low, takes the power
    away and gives it back; `b` and Enter sets BOOT0 high and resets; Ctrl-C ends.
    Example: tianfu-hil board emulated -- tianfu-node flash --port emulated/port
    --bus-port emulated/bus --role air --unit 7
    """
    from boards.elf import read_symbols
    from boards.folder import default_name
    from hil.boot_rom.cable import BootRomBoard
    from hil.boot_rom.chip import BootRom
    from hil.boot_rom.started import StartedBoard
    from hil.engines.images import image_of
    from hil.engines.qemu_command import find_qemu
    from hil.errors import EngineError, ImageError

    try:
        find_qemu()
        image = image_of(default_name(), lambda text: typer.echo(f"... {text}", err=True))
        folder.mkdir(parents=True, exist_ok=True)
        bus = folder / "bus"
        bus.unlink(missing_ok=True)
    except (EngineError, ImageError, OSError) as error:
        typer.echo(f"no board can be emulated: {error}", err=True)
        raise typer.Exit(FAULT) from error
    with StartedBoard(folder, symbols=read_symbols(image)) as node:
        node.rom = rom = BootRom(secrets.token_bytes(12), on_go=node.go)
        bus.symlink_to(node.bus_port)
        with BootRomBoard(rom, folder) as cable:
            if command:
                period_s = period_s or _PERIOD_S
            with _power_cycles(node, cable, period_s):
                if command:
                    status = subprocess.run(command, check=False).returncode
                else:
                    typer.echo(f"bootloader: {cable.port}\nbus: {bus}  (9600 8N1)")
                    status = _by_hand(node, cable)
        bus.unlink()
        cable.port.unlink()
    raise typer.Exit(status)


@contextmanager
def _power_cycles(
    node: StartedBoard, cable: BootRomBoard, period_s: float | None
) -> Iterator[None]:
    """Cycle the power every so many seconds once the node runs; never if there is no period."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(period_s):
            if node.starts:
                _cycle(node, cable)

    thread = threading.Thread(target=work)
    if period_s is not None:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if period_s is not None:
            thread.join()


def _cycle(node: StartedBoard, cable: BootRomBoard) -> None:
    cable.asleep = True
    node.power_cycle()


def _by_hand(node: StartedBoard, cable: BootRomBoard) -> int:
    with suppress(KeyboardInterrupt):
        for line in sys.stdin:
            if line.strip() == "b":
                cable.rom.restart()
                cable.asleep = False
                typer.echo("BOOT0 is high: the bootloader waits")
            else:
                _cycle(node, cable)
                typer.echo("BOOT0 is low, the power was away: the flash is run")
        signal.pause()
    return 0
