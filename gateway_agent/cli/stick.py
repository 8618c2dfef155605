"""``tianfu-gateway stick``: carry an outbox to its collector by hand."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from gateway_agent.batch_file import FILE_BYTES, pack
from gateway_agent.cli.verify import JsonOutput
from gateway_agent.config import load
from gateway_agent.outbox_socket import OutboxAnswer, OutboxQuestion, ask_outbox
from gateway_agent.stick import Stick
from protocols.exit_status import FAULT, GOOD


def stick(
    path: Annotated[Path, typer.Argument(help="Where the stick is mounted.")],
    config: Annotated[
        Path,
        typer.Option("--config", "-c", help="The gateway's configuration.", show_default=False),
    ],
    json_output: JsonOutput = False,
) -> None:
    """Write what waits in the outbox to a stick, as signed batches, and take its receipts.

    Example: tianfu-gateway stick --config /etc/tianfu/gateway.toml /media/usb

    Example: tianfu-gateway collect --config collector.toml --import /media/usb

    The gateway keeps running and keeps every record until its receipt has come, by the broker or on
    the stick: plug it in once more after the import. What comes both ways is stored once. Exit
    status 1: not everything that waits is on the stick; run it again with room on it.
    """
    loaded = load(config)
    run = _Carrier(Stick(path), loaded.gateway.state_dir)
    problem = ""
    try:
        run.take_receipts()
        run.write()
    except OSError as error:
        problem = f"{path}: {error.strerror or error}: what is named here is on it, the rest waits"
    if json_output:
        typer.echo(json.dumps(run.result(problem)))
    else:
        for text in run.receipts:
            typer.echo(f"receipt: {text}")
        typer.echo(
            f"{run.gateway}: records up to {run.to} of stream {run.stream} are on the stick, of"
            f" {run.end}; batches written: {run.batches}"
        )
        if problem:
            typer.echo(problem, err=True)
    raise typer.Exit(FAULT if problem else GOOD)


class _Carrier:
    """One visit of a stick."""

    def __init__(self, stick: Stick, directory: Path) -> None:
        self._stick = stick
        self._directory = directory
        self.receipts: list[str] = []
        self.batches = 0
        state = self._ask(0)[0]
        self.gateway = state.gateway
        self._show(state)

    def _ask(self, after: int) -> tuple[OutboxAnswer, bytes]:
        return ask_outbox(self._directory, OutboxQuestion("batch", after))

    def _show(self, state: OutboxAnswer) -> None:
        self.stream, self.to, self.end = state.stream, state.receipted_to, state.end

    def take_receipts(self) -> None:
        """Give the agent the receipts on the stick, and remove what they cover."""
        for receipt in self._stick.receipts(self.gateway):
            question = OutboxQuestion("receipt", data=receipt.hex())
            answer, _ = ask_outbox(self._directory, question)
            self.receipts.append(answer.text)
            self._show(answer)
        self._stick.remove(self.gateway, self.stream, self.to)

    def write(self) -> None:
        """Write what the stick does not have yet."""
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
            task = progress.add_task("records", total=self.end, completed=self.to)
            self.to = self._stick.covered(self.gateway, self.stream, self.to)
            end = self.end  # what comes meanwhile goes another time
            while self.to < end:
                held: list[bytes] = []
                first, size, to, stream = 0, 0, self.to, self.stream
                while to < end and size < FILE_BYTES:
                    answer, data = self._ask(to)
                    if answer.stream != stream:
                        raise OSError(f"stream {answer.stream} has begun meanwhile: run it again")
                    if not answer.first:
                        break
                    first = first or answer.first
                    held.append(data)
                    to, size = answer.last, size + len(data)
                if not held:
                    break
                self._stick.write(self.gateway, stream, first, to, pack(held))
                self.batches += len(held)
                self.to = to
                progress.update(task, completed=to)

    def result(self, problem: str) -> dict[str, object]:
        """Return what ``--json`` prints."""
        return {
            "good": not problem,
            "gateway": self.gateway,
            "stream": self.stream,
            "records_to": self.to,
            "records_end": self.end,
            "batches_written": self.batches,
            "receipts": self.receipts,
            "problem": problem,
        }
