"""Boots the board's image on QEMU from given contents of its flash, many times a second.

To the guest QEMU's flash is ROM, so a node changes nothing in it; a debugger can write it. One
process serves any number of boots: stop, write what differs over its GDB port, reset, go on, and
take the line with which the node says that it is up. Then, if wanted, a master asks it for a
setting, so that the boot counts only for a node that serves.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from boards.recordstore import IMAGE_BYTES
from hil.engines.wiring import STORE_ADDRESS
from hil.errors import BootError
from protocols.wire.crc import crc16

MACHINE = "netduinoplus2"
#: Twice that in hex digits is within QEMU's packet size of 4096.
_BLOCK = 1024
#: A boot takes 0.1 s; a host that is busy with other things may take its time.
BOOT_LIMIT_S = 20.0
_START_LIMIT_S = 20.0
_ASK_AGAIN_S = 1.0


class Boot:
    """What one boot said: the fields of its line, and the setting a master read."""

    def __init__(self, line: Mapping[str, object], setting: int | None) -> None:
        self.line = line
        self.setting = setting  # None: it was not asked


class Booter:
    """A QEMU with the image. Use as a context manager; ``folder`` holds its sockets."""

    def __init__(self, elf: Path, folder: Path, unit: int, setting: int) -> None:
        self._unit = unit
        self._setting = setting
        self._content = b""
        # Paths of sockets must be short, so they are relative to the folder.
        command = ["qemu-system-arm", "-M", MACHINE, "-kernel", str(elf.resolve()), "-S"]
        command += ["-display", "none", "-monitor", "none", "-nodefaults"]
        command += ["-qmp", "unix:qmp,server=on,wait=off", "-gdb", "unix:gdb,server=on,wait=off"]
        for name in ("console", "line"):
            command += ["-chardev", f"socket,id={name},path={name},server=on,wait=off"]
            command += ["-serial", f"chardev:{name}"]
        folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(command, cwd=folder)
        try:
            self._qmp = _connect(folder / "qmp", self._process)
            self._gdb = _connect(folder / "gdb", self._process)
            self.console = _connect(folder / "console", self._process)
            self._line = _connect(folder / "line", self._process)
            self._qmp_file = self._qmp.makefile("rb")
            self._qmp_file.readline()  # the greeting
            self._command("qmp_capabilities")
            self._write_flash(b"\xff" * IMAGE_BYTES)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for name in ("_qmp_file", "_qmp", "_gdb", "console", "_line"):
            if hasattr(self, name):
                getattr(self, name).close()

    def boot(self, content: bytes, ask: bool = True, limit_s: float = BOOT_LIMIT_S) -> Boot:
        """One boot from flash that holds ``content``. BootError if the node does not come up.

        ``ask``: wait until the node answers a master, too, which takes twice as long.
        """
        deadline = time.monotonic() + limit_s
        self._command("stop")
        self._write_flash(content)
        for port in (self.console, self._line):
            _drain(port)
        self._command("system_reset")
        self._command("cont")
        line = self._boot_line(deadline)
        return Boot(line, self._ask(deadline) if ask else None)

    def read_flash(self, offset: int, count: int) -> bytes:
        """What the guest, which must be stopped, has in its flash; at most 1024 bytes."""
        answer = self._debugger(f"m{STORE_ADDRESS + offset:x},{count:x}".encode())
        return bytes.fromhex(answer.decode())

    def stop(self) -> None:
        """Stop the guest."""
        self._command("stop")

    # --- QMP and GDB ------------------------------------------------------------------------------

    def _command(self, name: str) -> None:
        self._qmp.sendall(json.dumps({"execute": name}).encode() + b"\n")
        while raw := self._qmp_file.readline():
            answer = cast(dict[str, object], json.loads(raw))
            if "error" in answer:
                raise BootError(f"QEMU refuses {name}: {answer['error']}")
            if "return" in answer:
                return
        raise BootError(f"QEMU ended at {name} with status {self._process.poll()}")

    def _write_flash(self, content: bytes) -> None:
        old = self._content
        for at in range(0, len(content), _BLOCK):
            block = content[at : at + _BLOCK]
            if old[at : at + _BLOCK] != block:
                packet = f"M{STORE_ADDRESS + at:x},{len(block):x}:{block.hex()}"
                answer = self._debugger(packet.encode())
                if answer != b"OK":
                    raise BootError(f"QEMU's debugger refuses to write flash: {answer!r}")
        self._content = content

    def _debugger(self, packet: bytes) -> bytes:
        self._gdb.sendall(b"$%b#%02x" % (packet, sum(packet) & 0xFF))
        received = b""
        while True:
            # Our reset and stop are told to the debugger too: stop replies, which nobody asked for.
            start = received.find(b"$")
            end = received.find(b"#", start)
            if start < 0 or end < 0 or len(received) < end + 3:
                data = self._gdb.recv(65536)
                if not data:
                    raise BootError("QEMU closed its debugger port")
                received += data
                continue
            answer = received[start + 1 : end]
            self._gdb.sendall(b"+")
            received = received[end + 3 :]
            if not answer.startswith((b"T", b"S")):
                return answer

    # --- console and line -------------------------------------------------------------------------

    def _boot_line(self, deadline: float) -> Mapping[str, object]:
        said = b""
        while True:
            data = _receive(self.console, deadline)
            said += data
            for raw in said.split(b"\n")[:-1]:
                if raw.startswith(b"{"):
                    line = cast(dict[str, object], json.loads(raw))
                    if "boot_epoch" in line:
                        return line
            if not data or b'"error"' in said or b"Traceback" in said:
                raise BootError(f"no line with boot_epoch from the node; it said: {said!r}")

    def _ask(self, deadline: float) -> int:
        """Read the setting as a Modbus master would, until it is answered."""
        request = _framed(bytes((self._unit, 3, self._setting >> 8, self._setting & 0xFF, 0, 1)))
        while True:
            self._line.sendall(request)
            answer = b""
            end = min(deadline, time.monotonic() + _ASK_AGAIN_S)
            while len(answer) < 7 and (data := _receive(self._line, end)):
                answer += data
            begun = answer[:3] == bytes((self._unit, 3, 2))
            if begun and len(answer) == 7 and answer == _framed(answer[:5]):
                return answer[3] << 8 | answer[4]
            if time.monotonic() >= deadline:
                raise BootError(f"the node answers no master; the line had {answer!r}")


def _connect(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    deadline = time.monotonic() + _START_LIMIT_S
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.connect(str(path))
        except OSError as error:
            client.close()
            if process.poll() is not None or time.monotonic() > deadline:
                raise BootError(f"QEMU does not open {path}: {error}") from error
            time.sleep(0.01)
        else:
            return client


def _receive(port: socket.socket, deadline: float) -> bytes:
    port.settimeout(max(0.001, deadline - time.monotonic()))
    try:
        return port.recv(65536)
    except TimeoutError:
        return b""


def _drain(port: socket.socket) -> None:
    port.setblocking(False)
    try:
        while port.recv(65536):
            pass
    except BlockingIOError:
        pass


def _framed(body: bytes) -> bytes:
    crc = crc16(body)
    return body + bytes((crc & 0xFF, crc >> 8))
