"""The Monitor of the stand-in: each command of the grammar, and what it makes or refuses."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Final

from hil.errors import HilError
from hil.renode.fake.clock import FakeClock
from hil.renode.fake.machine import CONSOLE, FLASH_BYTES, LINE, UARTS, LineNode, Machine
from hil.renode.fake.port import FakePort, Heard
from hil.renode.fake.pty import FakePty
from hil.renode.grammar import GRAMMAR

#: Numbers of the observer that the bench sets, and where they are.
_SETTABLE: Final = {
    "CutAt": "cut_at",
    "MillisecondsAt": "milliseconds_at",
    "Operations": "operations",
}
#: What Renode takes and the bench does not send: a pseudo terminal for a UART.
BESIDE: Final = ((r'emulation CreateUartPtyTerminal "(\w+)" "(/[^"]+)" true', "pty"),)
_NAMED: Final = re.compile(r"^([a-zA-Z0-9_]+)=(.+)")


class Refused(HilError):
    """What Renode would answer with FAIL."""


class Fake:
    """One Renode: machines, externals, time."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.ports: dict[str, FakePort | FakePty] = {}
        self.models: set[str] = set()
        self.current: Machine | None = None
        self.clock = FakeClock(lambda: tuple(self.machines.values()))

    # --- keywords -----------------------------------------------------------------------------

    def get_keyword_names(self) -> list[str]:
        """Return the names, as the robot server does."""
        return ["ExecuteCommand", "StartEmulation", "ResetEmulation", "StopRemoteServer"]

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
        for port in self.ports.values():
            try:
                port.close()
            except FileNotFoundError as error:
                return {"status": "FAIL", "error": f"error when removing symlink: {error}"}
        self.machines, self.ports, self.current = {}, {}, None
        self.clock = FakeClock(lambda: tuple(self.machines.values()))
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
        for pattern, name in (*GRAMMAR, *BESIDE):
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
        if self.clock.started and machine.booted:
            raise Refused("Cannot load ELF on an unpaused machine")
        self._file(path)
        machine.loaded = True

    def _do_dump(self, path: str) -> None:
        Path(path.replace("\\ ", " ")).write_bytes(self._machine().flash)

    def _do_erase(self) -> None:
        self._machine().flash[:] = b"\xff" * FLASH_BYTES

    def _do_macro(self, body: str) -> None:
        self._machine().macro = body

    def _do_run_macro(self) -> None:
        for line in self._machine().macro.split("\n"):
            if line.strip():
                self._execute(line.strip())

    def _do_port(self, name: str, path: str) -> None:
        if "LinePort" not in self.models:
            raise Refused("No such command or device: CreateLinePort")
        if name in self.ports:
            raise Refused(f"{name}: already taken")
        self.ports[name] = FakePort(Path(path), self.clock)

    def _do_pty(self, name: str, link: str) -> None:
        if name in self.ports:
            raise Refused(f"{name}: already taken")
        self.ports[name] = FakePty(Path(link), lambda: int(self.clock.now_s() * 1e6))

    def _do_connect(self, uart: str, name: str) -> None:
        self._known(uart)
        if uart not in UARTS or name not in self.ports:
            raise Refused(f"Could not connect {uart} to {name}")
        port, machine = self.ports[name], self._machine()
        hear: Heard = port.send
        if uart == CONSOLE:
            machine.consoles.append(port)
            hear = machine.hear
        elif uart == LINE:
            hear = LineNode(port).hear

        def heard(data: bytes, at_us: int) -> None:
            if machine.running and machine.booted and self.clock.started:
                hear(data, at_us)

        port.listen(heard)

    # --- time and power -----------------------------------------------------------------------

    def _do_serial(self) -> None:
        self.clock.now_s()
        self.clock.serial = True

    def _do_ahead(self, word: str) -> None:
        self.clock.now_s()
        self.clock.immediate = word == "true"

    def _do_quantum(self, seconds: str) -> None:
        self.clock.now_s()
        self.clock.quantum_s = float(seconds)

    def _boot(self, machine: Machine) -> None:
        """Let the node run its program, once its core no longer sleeps."""
        if machine.booted or machine.halted or not self.clock.started or not machine.loaded:
            return
        lead_s = self.clock.lead_s()
        if lead_s > 0:
            timer = threading.Timer(lead_s, self._boot, (machine,))
            timer.daemon = True
            timer.start()
            return
        machine.boot()

    def _do_reset(self) -> None:
        machine = self._machine()
        machine.reset(self.clock.now_s())
        self._do_run_macro()
        self._boot(machine)

    def _do_halted(self, word: str) -> None:
        machine = self._machine()
        if word == "false" and self.clock.started:
            # Renode does not refuse it, but in 1.16.1 the core may run before it has a program.
            raise Refused("expected a paused emulation")
        self.clock.now_s()
        machine.halted = word == "true"

    def _do_start(self) -> str:
        if not self.clock.started:
            for machine in self.machines.values():
                machine.paused = False
            self.clock.start(True)
            for machine in self.machines.values():
                self._boot(machine)
        return "Starting emulation..."

    def _do_pause(self) -> None:
        self.clock.start(False)

    def _do_run_for(self, seconds: str) -> None:
        if self.clock.started:
            raise Refused("This action is not available when emulation is already started")
        self.clock.run_for(float(seconds))

    def _do_time(self) -> str:
        self._machine()
        minutes, seconds = divmod(self.clock.now_s(), 60)
        return f"[Domain = d, TimeElapsed = 00:{int(minutes):02}:{seconds:012.9f}]"

    def _do_instructions(self) -> str:
        self._machine()
        return f"0x{int(self.clock.now_s() * 1e6):016X}"

    # --- parts and observer -------------------------------------------------------------------

    def _do_watch(self, word: str, value: str | None = None) -> str:
        self._known("sysbus.watch")
        machine, now_s = self._machine(), self.clock.now_s()
        if value is not None:
            setattr(machine, _SETTABLE[word], int(value))
        elif word == "Attach":
            machine.reset_at_s = now_s
        elif word == "Restore":
            machine.cut, machine.cut_at = False, 0
        elif word == "Cut":
            return str(machine.cut)
        elif word == "Operations":
            return f"0x{machine.operations:08X}"
        elif word == "Uptime":
            microseconds = (now_s - machine.reset_at_s) * 1e6
            return f"{microseconds:.0f} {machine.own_s * 1e3:.0f}"
        return ""

    def _do_property(self, name: str, prop: str, *_value: str) -> str:
        self._known(name)
        if prop == "CharacterReceptionDelay":
            raise Refused(f"{name} does not provide a field, method or property {prop}")
        return ""

    def _do_nothing(self, *_: str) -> None:
        pass

    def _do_version(self) -> str:
        return "Renode v1.16.1.0 (a stand-in)"
