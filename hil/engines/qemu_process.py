"""One QEMU: its process, its UARTs as descriptors, its control connection.

QEMU gets its sockets as open descriptors, one end of a pair each: no path, no port, nothing to
wait for, and no other program can connect.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from hil.engines.console import Console
from hil.engines.qemu_command import QemuCommand
from hil.engines.qmp import Event, Qmp
from hil.errors import EngineError
from hil.wires.descriptor import DescriptorWire


class QemuProcess:
    """Runs ``command`` in ``folder``, with the chip's UARTs on ``uarts``; it may be started again
    after it was killed. ``on_event`` gets QMP's events.
    """

    def __init__(
        self,
        command: QemuCommand,
        folder: Path,
        uarts: Mapping[str, DescriptorWire],
        console: Console,
        on_event: Callable[[Event], None],
    ) -> None:
        self._command = command
        self._folder = folder
        self._uarts = uarts
        self._console = console
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._qmp: Qmp | None = None
        self._watch: asyncio.Task[None] | None = None

    def is_running(self) -> bool:
        """Return True while the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process that runs now. EngineError if none does."""
        if self._process is None or self._process.returncode is not None:
            raise self._console.error("is not running")
        return self._process.pid

    @property
    def qmp(self) -> Qmp:
        """The control connection. EngineError if it is off."""
        if self._qmp is None:
            raise self._console.error("is not running")
        return self._qmp

    async def start(self, *, store: Path | None = None, debugger: int | None = None) -> None:
        """Start the process. EngineError if its control connection does not come up.

        ``store`` and ``debugger`` are as :meth:`QemuCommand.words` has them.
        """
        with ExitStack() as far_ends:
            serials: dict[str, int] = {}
            for uart, wire in self._uarts.items():
                near, far = socket.socketpair()
                far_ends.callback(far.close)
                wire.attach(near.detach())
                serials[uart] = far.fileno()
            control, far = socket.socketpair()
            far_ends.callback(far.close)
            passed = [*serials.values(), far.fileno()]
            passed += [debugger] if debugger is not None else []
            self._process = await asyncio.create_subprocess_exec(
                *self._command.words(
                    self._folder, serials, far.fileno(), store=store, debugger=debugger
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=passed,
                # Ctrl-C in the terminal is for the bench, which stops its boards in order.
                start_new_session=True,
            )
        self._watch = asyncio.create_task(self._attend(self._process))
        try:
            self._qmp = await Qmp.over(control, self._on_event)
        except EngineError as error:
            control.close()
            await self.kill()
            raise self._console.error(f"did not come up: {error}") from None

    async def _attend(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            self._console.note(f"QEMU: {raw.decode('utf-8', 'replace').rstrip()}")
        self._console.end(f"ended: QEMU's exit status is {await process.wait()}")

    async def kill(self) -> None:
        """End the process now (SIGKILL) and disconnect its wires; does nothing if it is off."""
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
        if self._watch is not None:
            await self._watch
            self._watch = None
        if self._qmp is not None:
            await self._qmp.close()
            self._qmp = None
        for wire in self._uarts.values():
            wire.disconnect()
