"""The C port on QEMU's netduinoplus2: console, UARTs, faults, restarts.

The image is tests/conftest.py's. Where a time of the board matters, QEMU counts instructions
(``-icount``): every one takes 8 ns of the board's time, whatever the host is doing meanwhile.
"""

import contextlib
import hashlib
import json
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from boards.elf import read_symbols
from boards.folder import default_name
from boards.provision import provision
from boards.recordstore import compose
from gateway_agent.keys import generate_node_key
from hil.engines.wiring import STORE_ADDRESS

pytestmark = [pytest.mark.tool("qemu-system-arm"), pytest.mark.timeout(300)]

DEADLINE_S = 60.0
ICOUNT = ("-icount", "shift=3")
NS_OF_AN_INSTRUCTION = 8
RESTART_LIMIT_S = 2.0
GRACE_S = 1.5  # of a fault, for the watchdog that QEMU does not have (fault.c)
RAW = b"raw REPL; CTRL-B to exit\r\n>"


class Emulator:
    """Run one QEMU process with the image; the console and USART2 are sockets."""

    def __init__(
        self, elf: Path, folder: Path, more: Sequence[str] = (), pass_fds: Sequence[int] = ()
    ) -> None:
        arguments = ["qemu-system-arm", "-M", "netduinoplus2", "-kernel", str(elf)]
        arguments += ["-display", "none", "-monitor", "none"]
        for port in ("c1", "c2"):
            path = folder / port
            arguments += ["-chardev", f"socket,id={port},path={path},server=on,wait=on"]
            arguments += ["-serial", f"chardev:{port}"]
        arguments += ["-qmp", f"unix:{folder / 'qmp'},server=on,wait=off", *more]
        self.process = subprocess.Popen(arguments, stderr=subprocess.PIPE, pass_fds=pass_fds)
        self.console = self._connect(folder / "c1")
        self.line = self._connect(folder / "c2")
        self._qmp = self._connect(folder / "qmp")
        self._answers = self._qmp.makefile("rb")
        self._qmp.sendall(b'{"execute": "qmp_capabilities"}')
        self.seen = b""
        self.printed = b""  # before the REPL

    def _connect(self, path: Path) -> socket.socket:
        end = time.monotonic() + DEADLINE_S
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
            except OSError:
                connection.close()
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                select.select([], [], [], 0.02)
            else:
                return connection

    def until(self, mark: bytes, limit_s: float = DEADLINE_S) -> bytes:
        """Return what the console prints, up to and with ``mark``."""
        end = time.monotonic() + limit_s
        while mark not in self.seen:
            ready, _, _ = select.select([self.console], [], [], max(0.0, end - time.monotonic()))
            got = self.console.recv(4096) if ready else b""
            if not got:
                raise AssertionError(f"expected {mark!r} on the console, got {self.seen!r}")
            self.seen += got
        text, self.seen = self.seen.split(mark, 1)
        return text + mark

    def report(self, limit_s: float = DEADLINE_S) -> dict[str, object]:
        """Return the next line of JSON on the console."""
        self.until(b'{"', limit_s)
        found: dict[str, object] = json.loads(b'{"' + self.until(b"}"))
        return found

    def board_s(self) -> float:
        """Return the seconds of the board's time in which its core did not sleep; needs ICOUNT."""
        self._qmp.sendall(b'{"execute": "query-replay", "id": 1}')
        for raw in self._answers:
            answer = json.loads(raw)
            if answer.get("id") == 1:
                count: int = answer["return"]["icount"]
                return count * NS_OF_AN_INSTRUCTION / 1e9
        raise AssertionError("QEMU ended")

    def from_line(self, count: int) -> bytes:
        """Return so many bytes that USART2 sent."""
        got = b""
        self.line.settimeout(DEADLINE_S)
        while len(got) < count:
            part = self.line.recv(count - len(got))
            assert part, f"expected {count} bytes on USART2, got {got!r}"
            got += part
        return got

    def raw(self) -> None:
        """Interrupt whatever runs and enter the raw REPL."""
        self.console.sendall(b"\r\x03\x01")
        self.until(RAW)

    def begin(self, code: str) -> None:
        """Start ``code`` in the raw REPL."""
        self.console.sendall(code.encode() + b"\x04")
        self.until(b"OK")

    def run(self, code: str) -> str:
        """Return what ``code`` prints; AssertionError with its traceback."""
        self.begin(code)
        output = self.until(b"\x04")[:-1]
        error = self.until(b"\x04")[:-1]
        self.until(b">")
        assert not error, error.decode()
        return output.decode().replace("\r\n", "\n")

    def value(self, expression: str) -> object:
        """Return an expression's value, through JSON."""
        return json.loads(self.run(f"import json;print(json.dumps({expression}))"))

    def close(self) -> None:
        self.console.close()
        self.line.close()
        self._answers.close()
        self._qmp.close()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def node(board_image: Path, tmp_path: Path) -> Iterator[Emulator]:
    """Return the image in the raw REPL."""
    with contextlib.closing(Emulator(board_image, tmp_path)) as emulator:
        emulator.until(b">>> ")
        emulator.raw()
        yield emulator


def restart(node: Emulator, code: str) -> None:
    """Run what ends in a reset, and enter the next boot's raw REPL."""
    node.begin(code)
    node.until(b">>> ")
    node.raw()


def provisioned(folder: Path, board: bytes) -> tuple[str, str]:
    """Return QEMU's arguments for a flash whose record ``board`` has this content."""
    store = folder / "store.bin"
    store.write_bytes(compose({"board": board}))
    return "-device", f"loader,file={store},addr={STORE_ADDRESS:#x},force-raw=on"


def with_less_heap(elf: Path, out: Path, size: int) -> Path:
    """Make a copy of the image whose main() takes ``size`` bytes for its heap."""
    symbols, image = read_symbols(elf), bytearray(elf.read_bytes())
    (table,) = struct.unpack_from("<I", image, 28)  # ELF32: e_phoff; of the first segment:
    _, offset, start = struct.unpack_from("<III", image, table)  # type, offset, vaddr
    main = offset + (symbols["main"] & ~1) - start
    at = image.index(struct.pack("<I", symbols["heap_end"]), main, main + 2048)
    struct.pack_into("<I", image, at, symbols["heap_start"] + size)
    out.write_bytes(image)
    return out


def test_boots_and_knows_where_it_is(node: Emulator) -> None:
    assert node.value("__import__('sys').platform") == default_name()
    assert node.value("__import__('machine').freq()") == 168_000_000
    # A cold start, no fault, an id that QEMU does not have, and 88 KiB of heap.
    assert (
        node.run("import machine,chip;print(machine.reset_cause() == machine.PWRON_RESET)")
        == "True\n"
    )
    assert node.run("print(chip.last_fault(), machine.unique_id())") == f"None {bytes(12)!r}\n"
    free = node.value("(__import__('gc').collect(), __import__('gc').mem_free())[1]")
    assert isinstance(free, int)
    assert free >= 80 * 1024


def test_time_runs_with_the_host(node: Emulator) -> None:
    code = (
        "import time;t=time.ticks_us();time.sleep_ms(200);print(time.ticks_diff(time.ticks_us(),t))"
    )
    assert 199_000 <= int(node.run(code)) < 400_000
    code = """
import time
last = time.ticks_us(); worst = 0
for _ in range(20000):
    now = time.ticks_us()
    worst = min(worst, time.ticks_diff(now, last))
    last = now
print(worst)
"""
    assert node.run(code) == "0\n"  # never backwards


def test_ctrl_c_ends_a_program(node: Emulator) -> None:
    node.begin("print('on')\nwhile True: pass")
    node.until(b"on")
    node.console.sendall(b"\x03")
    node.until(b"KeyboardInterrupt")


def test_soft_reset_gives_an_empty_interpreter(node: Emulator) -> None:
    node.run("x = 1; import machine; u = machine.UART(2, 9600)")
    node.console.sendall(b"\x04")
    node.until(b"soft reboot\r\n")
    node.until(RAW)
    assert node.run("print('x' in globals())") == "False\n"


def test_the_frozen_modules_make_no_names_in_ram(node: Emulator) -> None:
    node.console.sendall(b"\x04")
    node.until(RAW)  # of an interpreter that has imported nothing
    code = """
import micropython
micropython.qstr_info()
import main, firmware.roles.air, firmware.roles.water, firmware.roles.camera
micropython.qstr_info()
"""
    before, after = node.run(code).splitlines()
    assert after == before


def test_uart_takes_thousands_of_bytes_at_once(node: Emulator) -> None:
    data = bytes(range(256)) * 32
    node.run("import machine,time,hashlib\nu=machine.UART(2,9600,rxbuf=512)")
    node.begin(f"""
h=hashlib.sha256();n=0;b=bytearray(100)
while n<{len(data)}:
    k=u.readinto(b)
    if k: h.update(memoryview(b)[:k]);n+=k
print(n,h.digest().hex(),u.errors(),u.any())
""")
    node.line.sendall(data)
    assert node.until(b"\x04").decode().split()[:2] == [
        str(len(data)),
        hashlib.sha256(data).hexdigest(),
    ]


def test_uart_sends_and_its_driver_is_off_afterwards(node: Emulator) -> None:
    node.run("import machine;u=machine.UART(2,9600,de='PA1');print(u.write(bytes(range(250))))")
    assert node.from_line(250) == bytes(range(250))
    assert node.run("print(u.flush(), u.txdone())") == "None True\n"


def test_a_task_that_ended_takes_no_heap(node: Emulator) -> None:
    """While it waited behind ``main`` in the queue, ``main`` pointed to it; now ``main`` waits."""
    code = """
import asyncio, gc
async def short(_):
    await asyncio.sleep_ms(300)
def begin():  # what it has on its stack goes with it
    return asyncio.create_task(short(bytearray(KEPT)))
async def look():
    await asyncio.sleep_ms(500)
    gc.collect(); print(gc.mem_alloc())
async def main():
    task = begin()
    await asyncio.sleep_ms(200)
    END
    task = asyncio.create_task(look())
    await task
asyncio.run(main())
asyncio.new_event_loop()
"""
    for end in ("pass", "task.cancel()"):
        small, large = (
            int(node.run(code.replace("END", end).replace("KEPT", n))) for n in ("16", "4096")
        )
        assert large - small < 1024, end


def test_uart_serves_asyncio(node: Emulator) -> None:
    node.begin("""
import asyncio, machine
async def serve():
    u = machine.UART(2, 115200)
    r = asyncio.StreamReader(u)
    b = bytearray(64)
    print('open')  # QEMU drops what comes before
    while True:
        n = await r.readinto(b)
        u.write(memoryview(b)[:n])
        if b[0] == 0x21: return
asyncio.run(serve())
""")
    node.until(b"open")
    for text in (b"a", b"hello", b"!"):
        node.line.sendall(text)
        assert node.from_line(len(text)) == text
    node.until(b"\x04")


def test_uart_says_when_a_byte_came(node: Emulator) -> None:
    node.run("import machine,time;u=machine.UART(2,9600)")
    node.begin("while not u.any(): pass\nprint(time.ticks_diff(time.ticks_us(),u.last_rx_us()))")
    node.line.sendall(b"x")
    assert 0 <= int(node.until(b"\x04").split(b"\x04")[0]) < 100_000


@pytest.mark.parametrize(
    "call",
    [
        *("UART(1)", "UART(7)", "UART(2, 0)", "UART(2, bits=9)", "UART(2, rxbuf=1)"),
        *("WDT(timeout=27000)", "Pin('PA16')", "Pin('X1')"),
        *("ADC('PA0')", "I2C(2)", "I2C(1, freq=1)"),
    ],
)
def test_refuses_what_the_board_has_not(node: Emulator, call: str) -> None:
    code = f"from machine import *\ntry: {call}\nexcept ValueError: print('refused')"
    assert node.run(code).startswith("refused")


def test_absent_devices_time_out(node: Emulator) -> None:
    """QEMU has no I2C and an ADC that never ends a conversion: neither may hang."""
    code = """
import machine
for what in (lambda: machine.I2C(1).writeto(0x44, b'x'), lambda: machine.ADC('PC1').read_u16()):
    try: what()
    except OSError as e: print(e.errno)
"""
    assert node.run(code) == "110\n110\n"


def test_hard_fault_leaves_its_reason_and_restarts(node: Emulator) -> None:
    restart(node, "import machine;machine.mem32[0x30000000]=1")
    assert (
        node.run("import chip,machine;f=chip.last_fault();print(f[0],hex(f[5]))")
        == "hard 0x30000000\n"
    )
    assert node.run("print(machine.reset_cause()==machine.WDT_RESET)") == "True\n"
    # Reported once: the next restart is not the fault's.
    restart(node, "machine.reset()")
    assert node.run("import chip,machine;print(chip.last_fault())") == "None\n"
    assert node.run("print(machine.reset_cause()==machine.COMMAND_RESET)") == "True\n"


def test_c_stack_overflow_hits_the_guard(node: Emulator) -> None:
    code = (
        "@micropython.asm_thumb\ndef f():\n    label(L)\n    push({r0, r1, r2, r3})\n    b(L)\nf()"
    )
    restart(node, "import micropython\n" + code)
    assert node.run("import chip;print(chip.last_fault()[0])") == "stack\n"


def test_python_recursion_is_an_exception(node: Emulator) -> None:
    code = "def f(): f()\ntry: f()\nexcept RuntimeError as e: print(e)"
    assert "recursion" in node.run(code)


def test_memory_error_is_an_exception(node: Emulator) -> None:
    code = "try: bytearray(200000)\nexcept MemoryError: print('no')"
    assert node.run(code) == "no\n"


def test_watchdog_restarts_a_wedged_program(node: Emulator) -> None:
    restart(node, "import machine;machine.WDT(timeout=500)\nwhile True: pass")
    assert node.run("import chip;print(chip.last_fault()[0])") == "watchdog\n"


def test_watchdog_stays_quiet_while_fed(node: Emulator) -> None:
    code = "import machine,time;w=machine.WDT(timeout=300)\n"
    code += "for _ in range(20): time.sleep_ms(50);w.feed()\nprint('fed')"
    assert node.run(code) == "fed\n"


def test_failure_of_the_application_is_recorded(node: Emulator) -> None:
    restart(node, "import chip;chip.fail('RuntimeError')")
    assert (
        node.run("import chip;print(chip.last_fault()[:2])") == "('application', 'RuntimeError')\n"
    )


@pytest.mark.parametrize(
    ("code", "kind", "before_s"),
    [
        ("import machine;machine.mem32[0x30000000]=1", "hard", 0.0),
        ("import chip;chip.fail('ValueError')", "application", 0.0),
        ("import machine;machine.WDT(timeout=500)\nwhile True: pass", "watchdog", 0.5),
    ],
)
def test_restart_takes_at_most_2_s_of_the_boards_time(
    board_image: Path, tmp_path: Path, code: str, kind: str, before_s: float
) -> None:
    with contextlib.closing(Emulator(board_image, tmp_path, ICOUNT)) as node:
        node.until(b">>> ")
        node.raw()
        start = node.board_s()
        node.begin(code)
        assert node.report()["last_fault"] == kind
        node.until(b">>> ")
        took = node.board_s() - start - before_s
        assert GRACE_S <= took <= RESTART_LIMIT_S


def test_repl_feeds_the_watchdog_but_not_for_ever(board_image: Path, tmp_path: Path) -> None:
    """With sleep=off a core that waits for an interrupt has it at once: minutes take seconds."""
    fast = ("-icount", "shift=3,sleep=off")
    with contextlib.closing(Emulator(board_image, tmp_path, fast)) as node:
        node.until(b">>> ")
        node.raw()
        last_byte = int(
            node.run("import machine,time;machine.WDT(timeout=500);print(time.ticks_ms())")
        )
        report = node.report(limit_s=240)  # 600,000 interrupts
        assert report["last_fault"] == "watchdog"
        uptime = report["uptime_ms"]
        assert isinstance(uptime, int)
        assert 600_000 <= uptime - last_byte <= 602_000


def test_board_without_a_role_says_so_and_has_a_repl(board_image: Path, tmp_path: Path) -> None:
    with contextlib.closing(Emulator(board_image, tmp_path)) as node:
        assert node.report() == {"error": "no record 'board' in flash: provision this board"}
        node.until(b">>> ")
        node.raw()
        assert node.run("import main;print(main.boot(), main.serve())").endswith("None None\n")
        # What it lacks can be given to it at once: QEMU's flash takes nothing, but RAM keeps it.
        code = "import flashstore;print(flashstore.write('board', b'{\"role\": \"air\"}'))"
        assert node.run(code) == "False\n"
        node.begin("import main;main.run()")
        assert node.report()["role"] == "air"


def test_board_runs_what_it_was_provisioned_as(board_image: Path, tmp_path: Path) -> None:
    generate_node_key(tmp_path / "key.json", 7)
    made = provision(default_name(), "water", tmp_path / "key.json", {"unit_id": 9})
    (tmp_path / "store.bin").write_bytes(made.store)
    flash = f"loader,file={tmp_path / 'store.bin'},addr={made.address:#x},force-raw=on"
    with contextlib.closing(Emulator(board_image, tmp_path, ("-device", flash))) as node:
        report = node.report()
        assert report["role"] == "water"
        # Without a usable key the next line would be a warning.
        node.console.sendall(b"\x03")
        assert b"warning" not in node.until(b">>> ")


def test_board_with_a_wrong_record_says_what_is_wrong(board_image: Path, tmp_path: Path) -> None:
    flash = provisioned(tmp_path, b'{"role": "fire"}')
    with contextlib.closing(Emulator(board_image, tmp_path, flash)) as node:
        expected = "record 'board' in flash: role: expected one of air, water, camera, got 'fire'"
        assert node.report() == {"error": expected}
        node.until(b">>> ")


def test_memory_error_ends_the_application_and_is_recorded(
    board_image: Path, tmp_path: Path
) -> None:
    """A whole node in a heap that is too small for it: it fails at every boot, and reports it."""
    elf = with_less_heap(board_image, tmp_path / "small.elf", 32 * 1024)
    flash = provisioned(tmp_path, b'{"role": "camera"}')
    with contextlib.closing(Emulator(elf, tmp_path, flash)) as node:
        for _ in range(2):
            node.until(b"MemoryError")
            report = node.report()
            assert (report["last_fault"], report["text"]) == ("memory", "MemoryError")


def test_exception_that_ends_the_application_is_recorded(board_image: Path, tmp_path: Path) -> None:
    # An image with a defect: a format that does not fit its argument.
    good, bad = b"record '%s' in %s: %s", b"record '%s' in %s: %d"
    image = board_image.read_bytes()
    assert image.count(good) == 1
    elf = tmp_path / "defect.elf"
    elf.write_bytes(image.replace(good, bad))
    flash = provisioned(tmp_path, b'{"role": "fire"}')
    with contextlib.closing(Emulator(elf, tmp_path, flash)) as node:
        for _ in range(2):
            node.until(b"TypeError")
            report = node.report()
            assert (report["last_fault"], report["text"]) == ("application", "TypeError")
