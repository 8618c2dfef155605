"""What the boards of all engines share: folder, console, wires, boot line, and their end.

An :class:`EmulatedBoard` is one node of any engine, an :class:`ImageBoard` one that runs the
board's image: its store is in flash and its console ends in a REPL.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, Generic, TypeVar

from hil.engines.base import NodeSpec
from hil.engines.console import Console, Object
from hil.engines.deadline import Clock
from hil.engines.records import provisioned
from hil.engines.repl import Repl
from hil.engines.wiring import PORTS, STORE_BYTES
from hil.files import write_private
from hil.wires.wire import Wire

STOP_LIMIT_S: Final = 10.0
_W = TypeVar("_W", bound=Wire)


class EmulatedBoard(ABC, Generic[_W]):
    """A node in ``folder`` (made if missing), switched off; ``clock`` is its own, if it has one."""

    #: How long a boot may take, in seconds of the board.
    start_limit_s: ClassVar[float]

    def __init__(self, spec: NodeSpec, folder: Path, clock: Clock | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.spec = spec
        self.folder = folder
        self.boot: Mapping[str, object] = {}
        #: How often the node came up.
        self.boots = 0
        self.console = Console(
            spec.name, folder / "console.log", clock=clock, on_object=self._on_object
        )
        self._wires: dict[str, _W] = {}

    def _on_object(self, fields: Object) -> None:
        if "boot_epoch" in fields and "mem_alloc" in fields:
            self.boot = fields
            self.boots += 1

    def wire(self, port: str) -> _W:
        """Return the UART of that name: ``line``, or a part of the role. LookupError."""
        if port not in self._wires:
            names = ", ".join(self._wires)
            raise LookupError(f"a {self.spec.role} node has no port {port!r}; it has {names}")
        return self._wires[port]

    # --- power --------------------------------------------------------------------------------

    @abstractmethod
    def is_running(self) -> bool:
        """Return True while the board has power."""

    @abstractmethod
    async def power(self) -> None:
        """Power on, and wait for nothing: also for images that print no boot line."""

    @abstractmethod
    async def kill(self) -> None:
        """Cut the power now; does nothing if it is off."""

    async def start(self, limit_s: float | None = None) -> Mapping[str, object]:
        """Power on; return the fields of the boot line. EngineError if it does not come in time."""
        if self.is_running():
            raise self.console.error("is running already")
        await self.power()
        return await self._wait_boot(limit_s)

    async def _wait_boot(self, limit_s: float | None) -> Mapping[str, object]:
        limit_s = self.start_limit_s if limit_s is None else limit_s
        return await self.console.wait_json("boot_epoch", limit_s)

    async def power_cycle(self, limit_s: float | None = None) -> Mapping[str, object]:
        """Cut the power and switch it on; return the fields of the boot line."""
        await self.kill()
        return await self.start(limit_s)

    # --- sampling and end ---------------------------------------------------------------------

    @abstractmethod
    async def _interrupt_sampling(self, limit_s: float) -> None:
        """Make the node end its samples and print what it sampled."""

    async def stop_sampling(self, limit_s: float = STOP_LIMIT_S) -> Mapping[str, object]:
        """Stop sampling, go on serving; return what the node sampled in this boot."""
        await self._interrupt_sampling(limit_s)
        return await self.console.wait_json("sampled_frames", limit_s)

    async def close(self) -> None:
        """Power off, and close console and wires."""
        await self.kill()
        self._release()

    def _release(self) -> None:
        self.console.close()
        for wire in self._wires.values():
            wire.close()


class ImageBoard(EmulatedBoard[_W]):
    """A board that runs ``image``; ``store.bin`` in ``folder`` is the content of its flash at the
    first power on, and ``console_wire`` the UART of its console. LookupError for an unknown role.
    """

    def __init__(
        self,
        spec: NodeSpec,
        folder: Path,
        image: Path,
        console_wire: Wire,
        clock: Clock | None = None,
    ) -> None:
        if spec.role not in PORTS:
            raise LookupError(f"expected a role of {', '.join(PORTS)}, got {spec.role!r}")
        super().__init__(spec, folder, clock)
        self._image = image
        self._store = folder / "store.bin"
        if not self._store.exists():
            write_private(self._store, provisioned(spec))
        self._repl = Repl(self.console, console_wire)

    def image(self) -> Path:
        """Return the ELF file that the board runs."""
        return self._image

    def repl(self) -> Repl:
        """Return the way into the node."""
        return self._repl

    async def _interrupt_sampling(self, limit_s: float) -> None:
        await self._repl.interrupt(limit_s)
        self._repl.write(b"import main; main.serve()\r")

    async def write_flash(self, content: bytes) -> None:
        """Replace the content of the store's sectors, from the next power on.

        The board must be off: EngineError.
        """
        if self.is_running():
            raise self.console.error("is running: its flash can be replaced only when it is off")
        if len(content) != STORE_BYTES:
            raise ValueError(f"expected {STORE_BYTES} bytes of both sectors, got {len(content)}")
        write_private(self._store, content)

    def _release(self) -> None:
        self._repl.close()
        super()._release()
