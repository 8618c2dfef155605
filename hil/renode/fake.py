"""A stand-in for Renode that refuses what Renode would refuse: for tests of what we send it.

    python -m hil.renode.fake --disable-xwt --plain --robot-server-port 0

It knows the grammar of each Monitor command the bench uses and nothing else; it keeps what the
commands make (machines, names, terminals, memory) and fails where a name is not there. It emulates
no processor: a started machine prints a boot line and answers a line at its prompt; what comes on
another UART it sends back.
"""

from __future__ import annotations

import os
import re
import socketserver
import sys
import threading
import time
import tty
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

from hil.errors import HilError
from hil.renode.grammar import GRAMMAR

_NAMED: Final = re.compile(r"^([a-zA-Z0-9_]+)=(.+)")
_FLASH_BYTES: Final = 0x200000
_CONSOLE: Final = "sysbus.usart1"
_UARTS: Final = frozenset(f"sysbus.{n}" for n in ("usart1", "usart2", "usart3", "usart6"))


class Refused(HilError):
    """What Renode would answer with FAIL."""


@dataclass(slots=True)
class Terminal:
    """A pseudo terminal; ``near`` is our end."""

    near: int
    far: int
    link: Path


@dataclass(slots=True)
class Machine:
    """What commands made of one machine."""

    name: str
    flash: bytearray = field(default_factory=lambda: bytearray(_FLASH_BYTES))
    macro: str = ""
    loaded: bool = False
    halted: bool = False
    booted: bool = False
    epoch: int = 0
    names: set[str] = field(default_factory=set)
    consoles: list[Terminal] = field(default_factory=list)


class Fake:
    """One Renode: machines, externals, time."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.terminals: dict[str, Terminal] = {}
        self.models: set[str] = set()
        self.current: Machine | None = None
        self.started = False
        self._since = 0.0
        self._elapsed = 0.0

    # --- keywords -----------------------------------------------------------------------------

    def get_keyword_names(self) -> list[str]:
        """Return the names, as the robot server does."""
        return ["ExecuteCommand", "StartEmulation", "ResetEmulation", "StopRemoteServer"]

    def stop_remote_server(self) -> bool:
        """End the process, after the answer."""
        threading.Timer(0.05, os._exit, (0,)).start()
        return True

    def run_keyword(self, name: str, arguments: list[str]) -> dict[str, str]:
        """Run a command, as the robot server: arguments by place or name, FAIL with a text."""
        if name == "ResetEmulation":
            return self._reset_emulation()
        if name != "ExecuteCommand":
            raise KeyError(f'Keyword "{name}" not found')
        try:
            command, machine = self._arguments(arguments)
            if machine is not None:
                self._select(machine)
            return {"status": "PASS", "return": self._execute(command)}
        except Refused as error:
            return {"status": "FAIL", "error": f"KeywordException: {error}", "traceback": ""}

    def _reset_emulation(self) -> dict[str, str]:
        for terminal in self.terminals.values():
            try:
                terminal.link.unlink()
            except FileNotFoundError:
                return {"status": "FAIL", "error": f"error when removing symlink {terminal.link}"}
        self.machines, self.terminals, self.current = {}, {}, None
        self.started, self._elapsed = False, 0.0
        return {"status": "PASS", "return": ""}

    def _arguments(self, arguments: list[str]) -> tuple[str, str | None]:
        order, given, named = ("command", "machine"), dict[str, str](), False
        for place, argument in enumerate(arguments):
            if found := _NAMED.match(argument):
                named = True
                if found[1] not in order:
                    raise Refused(f"no argument {found[1]}")
                given[found[1]] = found[2]
            elif named:
                raise Refused("Named arguments must appear after the positional arguments")
            else:
                given[order[place]] = argument
        return given["command"], given.get("machine")

    def _select(self, name: str) -> None:
        if name not in self.machines:
            raise Refused(f"Could not find machine named {name}")
        self.current = self.machines[name]

    # --- commands -----------------------------------------------------------------------------

    def _execute(self, text: str) -> str:
        for pattern, name in GRAMMAR:
            if found := re.fullmatch(pattern, text, re.DOTALL):
                return str(getattr(self, f"_do_{name}")(*found.groups()) or "")
        raise Refused(f"No such command or device: {text}")

    def _machine(self) -> Machine:
        if self.current is None:
            raise Refused("No machine selected")
        return self.current

    def _file(self, path: str) -> Path:
        file = Path(path.replace("\\ ", " "))
        if not file.is_file():
            raise Refused(f"No such file {file}")
        return file

    def _do_include(self, path: str) -> None:
        self.models.add(self._file(path).stem)

    def _do_create(self, name: str) -> None:
        if name in self.machines:
            raise Refused("Given machine is already added or name is already taken.")
        self.machines[name] = self.current = Machine(name)

    def _do_platform(self, path: str) -> None:
        from hil.renode import platform_file, stock

        platform = platform_file.load(self._file(path))
        self._machine().names |= {f"sysbus.{n}" for n in stock.NAMES | set(platform.entries)}

    def _do_device(self, name: str, model: str, bus: str, _at: str) -> None:
        if model not in self.models:
            raise Refused(f"Could not resolve type: Tianfu.{model}")
        full = f"sysbus.{name}" if bus == "sysbus" else f"sysbus.{bus}.{name}"
        if full in self._machine().names:
            raise Refused(f"Variable '{name}' was already declared")
        self._machine().names.add(full)

    def _do_unregister(self, name: str) -> None:
        self._known(name)
        self._machine().names.remove(name)

    def _known(self, name: str) -> None:
        if name not in self._machine().names:
            raise Refused(f"No such command or device: {name}")

    def _do_load(self, path: str, address: str) -> None:
        data = self._file(path).read_bytes()
        at = int(address, 16) - 0x08000000
        self._machine().flash[at : at + len(data)] = data

    def _do_elf(self, path: str) -> None:
        machine = self._machine()
        if self.started and machine.booted:
            raise Refused("Cannot load ELF on an unpaused machine")
        self._file(path)
        machine.loaded = True

    def _do_dump(self, path: str) -> None:
        Path(path.replace("\\ ", " ")).write_bytes(self._machine().flash)

    def _do_erase(self) -> None:
        self._machine().flash[:] = b"\xff" * _FLASH_BYTES

    def _do_macro(self, body: str) -> None:
        self._machine().macro = body

    def _do_run_macro(self) -> None:
        for line in self._machine().macro.split("\n"):
            if line.strip():
                self._execute(line.strip())

    def _do_pty(self, name: str, link: str) -> None:
        if name in self.terminals:
            raise Refused(f"{name}: already taken")
        near, far = os.openpty()
        tty.setraw(far)
        Path(link).symlink_to(os.ttyname(far))
        self.terminals[name] = Terminal(near, far, Path(link))

    def _do_connect(self, uart: str, name: str) -> None:
        self._known(uart)
        if uart not in _UARTS or name not in self.terminals:
            raise Refused(f"Could not connect {uart} to {name}")
        terminal, machine = self.terminals[name], self._machine()
        if uart == _CONSOLE:
            machine.consoles.append(terminal)
        serve = threading.Thread(target=self._serve, args=(machine, uart, terminal), daemon=True)
        serve.start()

    def _serve(self, machine: Machine, uart: str, terminal: Terminal) -> None:
        while True:
            data = os.read(terminal.near, 4096)
            if machine.halted or not self.started:
                continue
            if uart != _CONSOLE:
                os.write(terminal.near, data)
            elif b"\x03" in data:
                os.write(terminal.near, b"\r\n>>> ")
            elif b"serve()" in data:
                figures = b'{"sampled_frames": 1, "sampled_readings": 7, "boot_epoch": %d}\r\n'
                os.write(terminal.near, data + b"\n" + figures % machine.epoch)

    def _boot(self, machine: Machine) -> None:
        if machine.halted or not self.started or not machine.loaded:
            return
        machine.booted = True
        machine.epoch += 1
        for terminal in machine.consoles:
            line = b'{"boot_epoch": %d, "role": "air", "mem_alloc": 20000}\r\n'
            os.write(terminal.near, line % machine.epoch)

    def _do_reset(self) -> None:
        machine = self._machine()
        # As after 1.16.1, which keeps a halted core halted.
        machine.booted = machine.loaded = machine.halted = False
        self._do_run_macro()
        self._boot(machine)

    def _do_halted(self, word: str) -> None:
        machine = self._machine()
        if word == "false" and self.started:
            # Renode does not refuse it, but in 1.16.1 the core may run before it has a program.
            raise Refused("expected a paused emulation")
        machine.halted = word == "true"

    def _do_start(self) -> str:
        if not self.started:
            self.started, self._since = True, time.monotonic()
            for machine in self.machines.values():
                if not machine.booted:
                    self._boot(machine)
        return "Starting emulation..."

    def _do_pause(self) -> None:
        self._elapsed, self.started = self._now(), False

    def _now(self) -> float:
        return self._elapsed + (time.monotonic() - self._since if self.started else 0.0)

    def _do_run_for(self, seconds: str) -> None:
        if self.started:
            raise Refused("This action is not available when emulation is already started")
        self._elapsed += float(seconds)

    def _do_time(self) -> str:
        self._machine()
        minutes, seconds = divmod(self._now(), 60)
        return f"[Domain = d, TimeElapsed = 00:{int(minutes):02}:{seconds:012.9f}]"

    def _do_property(self, name: str, _property: str, *_value: str) -> str:
        self._known(name)
        if name == "sysbus.watch":
            return "False" if _property == "Cut" else "0x00000000"
        if _property == "I2CReadCount":
            raise Refused("i2c1 does not provide a field, method or property I2CReadCount")
        return ""

    def _do_nothing(self, *_: str) -> None:
        pass

    def _do_version(self) -> str:
        return "Renode v1.16.1.0 (a stand-in)"


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/",)


class _Server(socketserver.TCPServer, SimpleXMLRPCDispatcher):
    allow_reuse_address = True
    logRequests = False  # noqa: N815 - the handler's name for it

    def __init__(self, fake: Fake) -> None:
        SimpleXMLRPCDispatcher.__init__(self, allow_none=True)
        self.register_instance(fake)
        super().__init__(("127.0.0.1", 0), _Handler)


def main(arguments: list[str]) -> int:
    """Serve until the client ends it."""
    if arguments == ["--version"]:
        sys.stdout.write("Renode v1.16.1.0 (a stand-in)\n")
        return 0
    expected = ["--disable-xwt", "--plain", "--robot-server-port", "0"]
    if arguments != expected:
        sys.stderr.write(f"expected {expected}, got {arguments}\n")
        return 2
    folder = Path(os.environ["TMPDIR"]) / f"renode-{os.getpid()}"
    folder.mkdir()
    with _Server(Fake()) as server:
        (folder / "robot_port").write_text(str(server.server_address[1]), encoding="utf-8")
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
