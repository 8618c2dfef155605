"""Whatever a port, a driver or a library raises costs its own connection, and only for a while."""

import asyncio
import binascii
import builtins
import concurrent.futures
import errno
import io
import logging
import os
import select
import socket
import ssl
import struct
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymodbus.exceptions
import pytest
import serial

from gateway_agent.clock import SystemClock
from gateway_agent.config import (
    Bus,
    ProfileDevice,
    RtuOverTcpBus,
    SerialBus,
    TcpBus,
)
from gateway_agent.counters import Counters
from gateway_agent.field import bus_port
from gateway_agent.field.bus_errors import BusDownError
from gateway_agent.field.field import Field
from gateway_agent.field.master import Master
from gateway_agent.field.profile_reader import ProfileReader
from gateway_agent.field.reader import Polled
from gateway_agent.field.serial_line import SerialLine

from .field_help import config_of
from .slave import PtySlave, Reply, TcpSlave, mbap, raw_answer, registers, until
from .test_poller import Memory

WORDS = b"\x00\x00\x00\x00\x00\x00\x01\x9f"  # of a senseair-s8: no fault, 415 ppm
NUMBERS = (errno.EIO, errno.ENODEV, errno.EINVAL, errno.EBADF, errno.EMFILE, errno.EHOSTUNREACH)
TIMES = 2  # each exception is raised this often, then the port is well again


def _subclasses(root: type[BaseException]) -> Iterator[type[BaseException]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _subclasses(kind)


def _made(kind: type[BaseException]) -> Exception:
    """Make one exception of a class, with the arguments that it needs."""
    special: dict[type[BaseException], tuple[object, ...]] = {
        UnicodeDecodeError: ("utf-8", b"\xff", 0, 1, "invalid start byte"),
        UnicodeEncodeError: ("idna", "x", 0, 1, "label too long"),
        UnicodeTranslateError: ("x", 0, 1, "no mapping"),
        ExceptionGroup: ("several", [OSError(errno.EIO, "one"), TypeError("two")]),
        asyncio.IncompleteReadError: (b"", 1),
        asyncio.LimitOverrunError: ("too long", 1),
        termios.error: (errno.EIO, "Input/output error"),
    }
    error = kind(*special.get(kind, () if kind is serial.PortNotOpenError else ("made up",)))
    assert isinstance(error, Exception)
    return error


def every_exception() -> list[Exception]:
    """Make one of each class of Python, the loop, pyserial and pymodbus, and of some errnos."""
    ours = {name for name in vars(builtins) if isinstance(getattr(builtins, name), type)}
    kinds = [kind for kind in _subclasses(Exception) if kind.__name__ in ours] + [Exception]
    kinds = [kind for kind in kinds if kind.__module__ == "builtins" and kind is not MemoryError]
    kinds += [getattr(pymodbus.exceptions, name) for name in pymodbus.exceptions.__all__]
    kinds += [serial.SerialException, serial.SerialTimeoutException, serial.PortNotOpenError]
    kinds += [termios.error, struct.error, binascii.Error, io.UnsupportedOperation, select.error]
    kinds += [socket.gaierror, socket.herror, ssl.SSLError, *_subclasses(ssl.SSLError)]
    kinds += [asyncio.InvalidStateError, asyncio.IncompleteReadError, asyncio.LimitOverrunError]
    kinds += [asyncio.QueueFull, asyncio.SendfileNotAvailableError]
    kinds += [concurrent.futures.InvalidStateError, concurrent.futures.BrokenExecutor]
    return [
        *(_made(kind) for kind in dict.fromkeys(kinds)),
        *(OSError(number, os.strerror(number)) for number in NUMBERS),
    ]


class Injector:
    """Raises one exception a few times where it was put in."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.left = 0

    def arm(self, error: Exception) -> None:
        self.error = error
        self.left = TIMES

    def before(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``real`` so that it raises first."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.fire()
            return real(*args, **kwargs)

        return call

    def after(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``real`` so that it does its work and raises then, as close does on Linux."""

        def call(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            self.fire()
            return result

        return call

    def fire(self) -> None:
        if self.left and self.error is not None:
            self.left -= 1
            raise self.error


def on_line(request: bytes) -> list[Reply]:
    unit, _, _, count = registers(request)
    return [(0, raw_answer(unit, WORDS[: 2 * count]))]


def on_net(request: bytes) -> list[Reply]:
    tid, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", request)
    data = WORDS[: 2 * count]
    return [(0, mbap(tid, unit, bytes((function, len(data))) + data))]


def device(name: str, unit: int = 1) -> ProfileDevice:
    return ProfileDevice(name=name, unit=unit, profile="senseair-s8", period_ms=10)


class Site:
    """An ill bus and a well one, both polled."""

    def __init__(self, folder: Path, ill: Bus, well: TcpBus) -> None:
        self.sink = Memory()
        self.counters = Counters()
        self._field = Field(
            config_of(folder, ill, well), SystemClock(), self.sink, {}, self.counters
        )
        self.task = asyncio.create_task(self._field.run())

    def read(self, name: str) -> int:
        """Count the records of a device; AssertionError if polling has ended."""
        assert not self.task.done(), self.task
        return sum(item.gap is None for item in self.sink.of(f"g.{name}"))

    async def read_on(self, *names: str) -> None:
        """Wait until each device was read once more."""
        for name in names:
            before = self.read(name)
            await until(lambda name=name, before=before: self.read(name) > before)  # type: ignore[misc]

    def problem(self, name: str) -> str:
        return next(item.problem for item in self._field.status(0) if item.name == name)

    def errors(self, name: str) -> tuple[set[str], set[str]]:
        """The causes that the status has of a bus, and of its first device."""
        bus = next(
            one for one in self._field.bus_statuses(0) if name in [d.name for d in one.devices]
        )
        return set(bus.errors), set(bus.devices[0].errors)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_port, "RECONNECT_S", (0.001, 0.004))


async def _well() -> tuple[TcpSlave, TcpBus]:
    slave = await TcpSlave(on_net).start()
    bus = TcpBus(
        name="well", host="127.0.0.1", port=slave.port, timeout_ms=300, device=(device("well"),)
    )
    return slave, bus


def serial_bus(path: object, *devices: ProfileDevice) -> SerialBus:
    return SerialBus(
        name="line",
        port=str(path),
        baudrate=115200,
        timeout_ms=100,
        quiet_ms=10,
        device=devices or (device("ill"),),
    )


def place_of(what: str) -> tuple[type, str]:
    """Return the class and the name of what a serial line calls to do this."""
    return (SerialLine, "_read_port") if what == "read" else (serial.Serial, what)


async def _every_exception_at(
    site: Site, injector: Injector, reconnect: Callable[[], None]
) -> None:
    await site.read_on("ill", "well")
    for error in every_exception():
        injector.arm(error)
        reconnect()
        await until(lambda: not injector.left or site.task.done())
        await site.read_on("well", "ill")


@pytest.mark.parametrize("where", ["open", "fileno", "write", "read", "close"])
async def test_a_serial_port_may_raise_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    injector = Injector()
    put = injector.after if where == "close" else injector.before
    place = place_of(where)
    monkeypatch.setattr(*place, put(getattr(*place)))
    line = PtySlave(tmp_path, on_line)
    net, well = await _well()
    site = Site(tmp_path, serial_bus(line.path), well)

    def reconnect() -> None:
        if where in {"open", "close"}:
            line.unplug()
            line.plug()

    try:
        if where == "close":  # one connection is closed once: the next one raises again
            monkeypatch.setattr(f"{__name__}.TIMES", 1)
        await _every_exception_at(site, injector, reconnect)
    finally:
        await site.stop()
        line.close()
        await net.close()


@pytest.mark.parametrize("kind", [TcpBus, RtuOverTcpBus])
@pytest.mark.parametrize("where", ["open", "write", "read", "close"])
async def test_a_tcp_connection_may_raise_anything(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    kind: type[TcpBus | RtuOverTcpBus],
) -> None:
    injector = Injector()
    loop = asyncio.get_running_loop()
    real = loop.create_connection
    open_now: list[asyncio.Transport] = []
    ill = await TcpSlave(on_net if kind is TcpBus else on_line).start()
    net, well = await _well()

    async def connect(factory: Any, host: str, port: int) -> Any:
        if port == ill.port and where == "open":
            injector.fire()
        transport, link = await real(factory, host, port)
        if port == ill.port:
            open_now[:] = [transport]
            target, name = {
                "write": (transport, "write"),
                "read": (link, "data_received"),
                "close": (transport, "abort"),
            }.get(where, (link, "eof_received"))
            put = injector.after if where == "close" else injector.before
            setattr(target, name, put(getattr(target, name)))
        return transport, link

    monkeypatch.setattr(loop, "create_connection", connect)
    loop.set_exception_handler(lambda *_: None)  # it logs what a transport's callback raised
    bus = kind(
        name="net",
        host="127.0.0.1",
        port=ill.port,
        timeout_ms=100,
        baudrate=115200,
        quiet_ms=10,
        device=(device("ill"),),
    )
    site = Site(tmp_path, bus, well)

    def reconnect() -> None:
        if where == "open":
            open_now[0].abort()
        if where == "close":  # something that is no answer makes the master close it
            open_now[0].get_protocol().connection_lost(OSError(errno.EIO, "made up"))

    try:
        if where == "close":
            monkeypatch.setattr(f"{__name__}.TIMES", 1)
        await _every_exception_at(site, injector, reconnect)
    finally:
        await site.stop()
        await ill.close()
        await net.close()


async def test_a_driver_that_refuses_its_settings_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A USB adapter's driver may refuse a parity with termios.error, which pyserial lets pass."""

    def refuse(*_: object) -> None:
        raise termios.error(errno.EINVAL, "Invalid argument")

    real = serial.Serial._reset_input_buffer
    monkeypatch.setattr(serial.Serial, "_reset_input_buffer", refuse)
    line = PtySlave(tmp_path, on_line)
    net, well = await _well()
    site = Site(tmp_path, serial_bus(line.path), well)
    try:
        await until(lambda: site.counters.poll_errors["bus_down"] >= 5 or site.task.done())
        await site.read_on("well")
        problem = site.problem("ill")
        assert site.errors("ill") == ({"bus_down"}, {"bus_down"}), "no device was silent"
        assert problem.startswith(f"{line.path} cannot be opened: Invalid argument; ")
        assert problem.endswith("supports the baudrate, parity and stopbits of this bus")
        messages = [item for item in caplog.records if item.levelno == logging.ERROR]
        assert len(messages) == 1, "a fault is logged once as long as it is the same"
        assert not messages[0].exc_info
        monkeypatch.setattr(serial.Serial, "_reset_input_buffer", real)
        await site.read_on("ill", "well")
    finally:
        await site.stop()
        line.close()
        await net.close()


async def test_a_fault_of_our_own_costs_one_device_and_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ProfileReader.poll

    async def poll(self: ProfileReader, master: Master) -> Polled:
        polled = await real(self, master)
        if self.device_id == "g.ill":
            raise ZeroDivisionError("made up")
        return polled

    monkeypatch.setattr(ProfileReader, "poll", poll)
    line = PtySlave(tmp_path, on_line)
    net, well = await _well()
    site = Site(tmp_path, serial_bus(line.path, device("ill"), device("other", 2)), well)
    try:
        await until(lambda: site.counters.poll_errors["internal"] >= 3 or site.task.done())
        await site.read_on("other", "well")
        assert site.errors("ill")[1] == {"internal"}
        assert "ZeroDivisionError: made up" in site.problem("ill")
        (logged,) = [item for item in caplog.records if item.levelno == logging.ERROR]
        assert logged.exc_info, "its traceback is shown"
        monkeypatch.setattr(ProfileReader, "poll", real)
        await site.read_on("ill", "other", "well")
    finally:
        await site.stop()
        line.close()
        await net.close()


@pytest.mark.parametrize("where", ["open", "write", "read"])
async def test_want_of_memory_ends_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """No bus can go on then, and a new process can."""

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(*place_of(where), fail)
    line = PtySlave(tmp_path, on_line)
    net, well = await _well()
    site = Site(tmp_path, serial_bus(line.path), well)
    try:
        await until(site.task.done)
        with pytest.raises(ExceptionGroup) as raised:
            await site.task
        assert raised.group_contains(MemoryError)
    finally:
        await site.stop()
        line.close()
        await net.close()


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "name of the port"),
        (PermissionError(errno.EACCES, "Permission denied"), "group dialout"),
        (serial.SerialException(errno.EAGAIN, "Could not lock"), "another program"),
        (serial.SerialException("read failed"), "adapter is plugged in"),
        (termios.error(errno.EIO, "Input/output error"), "adapter is plugged in"),
        (UnicodeError("label too long"), "host name"),
        (NotImplementedError(), "report it"),
    ],
)
async def test_a_technician_reads_what_to_check(error: Exception, advice: str) -> None:
    found = bus_port.BusPort(serial_bus("/dev/ttyUSB7"), Counters()).failed("was lost", error)
    assert isinstance(found, BusDownError)
    assert found.detail.startswith("/dev/ttyUSB7 was lost: ")
    assert advice in found.detail


async def test_attempts_wait_longer_until_an_answer_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that opens and then fails is not opened at every poll."""
    monkeypatch.setattr(bus_port, "RECONNECT_S", (60.0, 60.0))
    opened = 0
    real = serial.Serial.open

    def count(self: serial.Serial) -> None:
        nonlocal opened
        opened += 1
        real(self)

    def fail(*_: object) -> None:
        raise TypeError("made up")

    monkeypatch.setattr(serial.Serial, "open", count)
    monkeypatch.setattr(*place_of("read"), fail)
    line = PtySlave(tmp_path, on_line)
    master = Master(serial_bus(line.path), Counters())
    try:
        for _ in range(5):
            with pytest.raises(BusDownError, match="TypeError: made up"):
                await master.identify(1, 1, 0)
    finally:
        master.close()
        line.close()
    assert opened == 1
