"""``tianfu-node commission`` and ``blink``: one node on site, over its bus.

Through a USB adapter, or through the running gateway that owns the bus (``gateway:BUS``).
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from boards.errors import BoardError
from boards.node_line import NodeLine
from boards.node_port import speed_at
from boards.provision import node_key
from boards.site.aim import views, zero_level
from boards.site.calibration import Reference
from boards.site.calibration import calibrate as run_calibration
from boards.site.find import answer_s, nodes_at, order
from boards.site.move import TRIAL_S, Berth, move, pick
from protocols.exit_status import FAULT
from protocols.wire.site import BLINK, MAX_BLINK_S, MAX_TRIAL_S
from protocols.wire.uid import parse_uid

from .line import Baud, Json, Key, Port, Unit

_BAR = 40

commission = typer.Typer(
    name="commission",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Set a node up where it hangs: address and speed, two nodes with one address, probes.",
)
Uid = Annotated[
    str | None, typer.Option(help="Unique id, where several nodes have the address: 24 hex digits.")
]


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error


def _uid(value: str | None) -> bytes | None:
    uid = parse_uid(value)
    if value is not None and uid is None:
        raise BoardError(f"--uid: expected 24 hex digits, got {value!r}")
    return uid


def _asked_apart(port: str, unit: int, baud: int) -> NodeLine:
    speed = speed_at(port, baud)
    return NodeLine(port, unit, speed, answer_s=answer_s(speed))


@commission.command()
def address(
    port: Port,
    to: Annotated[int, typer.Option(min=1, max=247, help="The new Modbus address.")] = 0,
    to_baud: Annotated[int, typer.Option(help="The new speed.")] = 0,
    key: Key = None,
    unit: Unit = 1,
    baud: Baud = 0,
    uid: Uid = None,
    trial: Annotated[
        int, typer.Option(min=2, max=MAX_TRIAL_S, help="Seconds after which it comes back.")
    ] = TRIAL_S,
    json_output: Json = False,
) -> None:
    """Give a node another address or speed; it comes back if it is not heard there.

    Example: tianfu-node commission address /dev/ttyUSB0 --unit 1 --to 7 --key keys/air-01.json

    Two nodes with one address: name one with --uid, as `commission find` shows it.
    Exit status 0: it is there, 1: it is where it was, or as the error names it.
    """
    with _errors():
        baud = speed_at(port, baud)
        there = Berth(to or unit, to_baud or baud)
        secret = None if key is None else node_key(key)
        moved = move(
            port,
            Berth(unit, baud),
            there,
            secret,
            _uid(uid),
            trial_s=trial,
            show=lambda text: typer.echo(text, err=json_output),
        )
        if json_output:
            typer.echo(json.dumps({"uid": moved.hex(), "unit": there.unit, "baud": there.baud}))


@commission.command()
def find(port: Port, unit: Unit = 1, baud: Baud = 0, json_output: Json = False) -> None:
    """Show every node that has an address, by unique id: more than one is a mistake.

    Example: tianfu-node commission find /dev/ttyUSB0 --unit 1

    Exit status 0: exactly one, 1: none or several.
    """
    with _errors(), _asked_apart(port, unit, baud) as line:
        nodes = nodes_at(line)
        if json_output:
            typer.echo(json.dumps({"unit": unit, "uids": [node.uid.hex() for node in nodes]}))
        else:
            for node in nodes:
                typer.echo(f"address {unit}: node {node.uid.hex()}")
        pick(line, nodes, None)


def blink(
    port: Port,
    unit: Unit = 1,
    baud: Baud = 0,
    key: Key = None,
    uid: Uid = None,
    seconds: Annotated[int, typer.Option(min=0, max=MAX_BLINK_S, help="0 stops it.")] = 60,
) -> None:
    """Let a node's light blink, to see which board it is.

    Example: tianfu-node blink /dev/ttyUSB0 --unit 7 --key keys/air-01.json

    Exit status 0: it blinks, 1: not.
    """
    with _errors(), _asked_apart(port, unit, baud) as line:
        node = pick(line, nodes_at(line), _uid(uid))
        order(line, node, BLINK, [seconds], None if key is None else node_key(key))
        typer.echo(f"node {node.uid.hex()} blinks for {seconds} s")


class _Terminal:
    """The technician at a terminal; what a script asks for is one JSON object a line."""

    def __init__(self, json_output: bool) -> None:
        self._json = json_output

    def wait(self, text: str) -> None:
        """Show the step and wait for Enter."""
        self.show(text)
        typer.prompt("then press Enter", default="", show_default=False, err=self._json)

    def show(self, text: str) -> None:
        """Print one line."""
        typer.echo(json.dumps({"step": text}) if self._json else text)


@commission.command()
def calibrate(
    port: Port,
    point: Annotated[str, typer.Argument(help="ph or turbidity_ntu")],
    values: Annotated[
        tuple[float, float], typer.Option("--references", help="What both liquids have: 7 4")
    ],
    lots: Annotated[tuple[str, str], typer.Option(help="Their lots, as printed on the bottles.")],
    hand: Annotated[str, typer.Option(help="Who calibrates, at most 16 characters.")],
    key: Key = None,
    unit: Unit = 1,
    baud: Baud = 0,
    json_output: Json = False,
) -> None:
    """Calibrate a probe in two reference liquids, guided step by step.

    Example: tianfu-node commission calibrate /dev/ttyUSB0 ph --references 7 4 --lots B0412 B0388
    --hand wang --key keys/water-01.json

    Meanwhile the node marks the point as being calibrated. Ctrl-C ends it with nothing changed.
    Exit status 0: calibrated and recorded in the node, 1: not.
    """
    with _errors(), NodeLine(port, unit, speed_at(port, baud)) as line:
        secret = None if key is None else node_key(key)
        identity = line.identity()
        if secret is not None:
            line.check_key(secret, identity)
        done = run_calibration(
            line,
            identity,
            point,
            (Reference(values[0], lots[0]), Reference(values[1], lots[1])),
            hand,
            secret,
            _Terminal(json_output),
        )
        outcome = {
            "point": done.point,
            "raw": done.raws,
            "slope_percent": round(done.slope_percent, 1),
            "day": done.day.isoformat(),
        }
        typer.echo(json.dumps(outcome) if json_output else f"recorded in the node: {outcome}")


@commission.command()
def level(
    port: Port,
    level_mm: Annotated[int, typer.Option("--level", min=0, help="mm at the staff gauge.")],
    gauge: Annotated[str, typer.Option(help="Which gauge, at most 16 characters.")],
    hand: Annotated[str, typer.Option(help="Who reads it, at most 16 characters.")],
    key: Key = None,
    unit: Unit = 1,
    baud: Baud = 0,
    json_output: Json = False,
) -> None:
    """Record the zero of a level in the node: level = zero - distance.

    Example: tianfu-node commission level /dev/ttyUSB0 --level 850 --gauge P3 --hand wang --key K

    Exit status 0: recorded, 1: not, because of waves for example.
    """
    with _errors(), NodeLine(port, unit, speed_at(port, baud)) as line:
        secret = None if key is None else node_key(key)
        identity = line.identity()
        today = dt.datetime.now(dt.UTC).astimezone().date()
        zero = zero_level(line, identity, level_mm, gauge, hand, secret, today)
        shown = {"level_mm": level_mm, "zero_mm": zero}
        typer.echo(
            json.dumps(shown) if json_output else f"zero {zero} mm from the sensor: recorded"
        )


@commission.command()
def aim(
    port: Port,
    unit: Unit = 1,
    baud: Baud = 0,
    count: Annotated[int, typer.Option(min=0, help="Pictures to look at; 0: until Ctrl-C.")] = 0,
    json_output: Json = False,
) -> None:
    """Show brightness, contrast and sharpness of each picture; no image leaves the node.

    Example: tianfu-node commission aim /dev/ttyUSB0 --unit 3

    Turn the lens until the bar is longest. Exit status 0, 1: there is no camera.
    """
    with _errors(), NodeLine(port, unit, speed_at(port, baud)) as line:
        for number, view in enumerate(views(line, line.identity()), 1):
            if json_output:
                typer.echo(json.dumps(dataclasses.asdict(view)))
            else:
                bar = "#" * (_BAR * view.sharpness // max(1, view.best))
                typer.echo(
                    f"brightness {view.luma:3} %  contrast {view.contrast:3} %  "
                    f"sharpness {view.sharpness:6} {bar}"
                )
            if number == count:
                break
