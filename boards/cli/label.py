"""``tianfu-node label``: labels of the boards that the station log has as proven, and no other."""

from pathlib import Path
from typing import Annotated

import typer

from boards.errors import BoardError
from boards.flash import station_log
from boards.label import Label, LabelError, read_back, write_png, write_sheet, zpl
from protocols.exit_status import FAULT
from protocols.station_log import proven_boards


def label(
    log: Annotated[Path, typer.Option(help="The station log.")] = Path("station.jsonl"),
    uid: Annotated[
        list[str] | None, typer.Option(help="Only this board; without it all proven ones.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="labels.pdf: A4, 24 to a page; .zpl; .png for one board.")
    ] = Path("labels.pdf"),
    used: Annotated[
        int, typer.Option(help="How many places of the first sheet are used already.")
    ] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Read labels from a hand scanner, one a line.")
    ] = False,
) -> None:
    """Make labels of proven boards from the station log, or check one that was stuck on.

    Example: tianfu-node label --out labels.pdf

    A board that did not prove itself before and after a power cycle gets none. With --check each
    scanned line is compared with the log. Exit status 0: made, or all scans fit, 1: not.
    """
    try:
        proven = proven_boards(station_log.chain(log).lines)
        if check:
            _check(proven)
            return
        for each in uid or []:
            if each.lower() not in proven:
                raise LabelError(
                    f"{each}: expected a board that proved itself twice, {log} has none with this "
                    "unique id; flash it again"
                )
        wanted = [each.lower() for each in uid or []] or list(proven)
        labels = [Label.of_line(proven[each]) for each in wanted]
        _write(labels, out, used)
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    typer.echo(f"{out}: {len(labels)} labels")


def _write(labels: list[Label], out: Path, used: int) -> None:
    if out.suffix == ".pdf":
        write_sheet(labels, out, used)
    elif out.suffix == ".png" and len(labels) == 1:
        write_png(labels[0], out)
    elif out.suffix == ".zpl" and labels:
        try:
            out.write_text("".join(map(zpl, labels)), encoding="ascii")
        except OSError as error:
            raise LabelError(f"{out}: cannot be written: {error.strerror}") from error
    else:
        raise LabelError(
            f"{out}: expected a name that ends in .pdf or .zpl, or in .png for one board, got "
            f"{len(labels)} proven boards"
        )


def _check(proven: dict[str, dict[str, object]]) -> None:
    wrong = 0
    for scanned in typer.get_text_stream("stdin"):
        if not scanned.strip():
            continue
        try:
            identity = read_back(scanned)
            line = proven.get(identity.uid)
            if line is None:
                raise LabelError(
                    f"{identity.uid}: expected a proven board, the station log has none with this "
                    "serial; take the label off and flash the board again"
                )
            known = Label.of_line(line)
            if known.board != identity.board:
                raise LabelError(
                    f"{identity.uid}: expected a label of {known.board}, as the board showed, got "
                    f"one of {identity.board}; print the label again"
                )
            typer.echo(f"ok: {known.role} {known.unit}, {known.board} {known.uid}")
        except LabelError as error:
            wrong += 1
            typer.echo(str(error), err=True)
    if wrong:
        raise LabelError(f"{wrong} labels do not fit")
