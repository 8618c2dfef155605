"""``tianfu-node console``: the node's console at this terminal."""

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import serial
import typer

from boards.console import ConsoleReader
from boards.errors import BoardError
from boards.flash.errors import CABLE, FlashingError
from boards.flash.serial_port import open_line
from protocols.exit_status import FAULT

_EXIT: Final = b"\x1d"  # Ctrl-]
_RAW: Final = b"\x12"  # Ctrl-R
_KEYS: Final = (
    "Ctrl-] leaves; Ctrl-C stops the node and gives its prompt, Ctrl-D there starts it again; "
    "Ctrl-R: words or everything\r"
)


def console(
    port: Annotated[str, typer.Argument(help="Serial port of the node's console.")],
    baud: Annotated[int, typer.Option(help="Speed of the console.")] = 115200,
    raw: Annotated[bool, typer.Option("--raw", help="Show everything as it comes.")] = False,
) -> None:
    """Show a node's console in plain words, and type at its prompt.

    Example: tianfu-node console /dev/ttyUSB0

    Ctrl-] leaves, Ctrl-C stops the node and gives its prompt (Ctrl-D there starts it again), Ctrl-R
    switches between plain words and everything as it comes. Exit status 0: left, 1: port failed.
    """
    try:
        with open_line(port, baud, 0) as line, _raw_terminal():
            typer.echo(f"{port}: {_KEYS}", err=True)
            try:
                _talk(line, ConsoleReader(raw))
            except OSError as error:
                raise FlashingError(CABLE, f"{port}: {error}") from error
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error


def _talk(line: serial.Serial, reader: ConsoleReader) -> None:
    """Carry bytes both ways until the exit key, or the end of a pipe."""
    keys = sys.stdin.fileno()
    while True:
        ready = select.select([keys, line.fileno()], [], [])[0]
        if line.fileno() in ready:
            data = line.read(4096)
            if not data:
                raise OSError("the adapter is gone")
            sys.stdout.write(reader.feed(data))
            sys.stdout.flush()
        if keys in ready:
            typed = os.read(keys, 256)
            if not typed or _EXIT in typed:
                return
            if _RAW in typed:
                reader.raw = not reader.raw
                typed = typed.replace(_RAW, b"")
            line.write(typed.replace(b"\n", b"\r"))


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Let every key reach the node, Ctrl-C too; of a pipe nothing changes."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
