"""The gateway's end of one node's serial link, for tests: keeps what came, and when it came.

It is the end that the gateway itself uses, on the bench's port, without the gateway around it: what
a node pushes is counted here before anything could sort it out.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from hil.bench import Bench
from hil.engines.deadline import Deadline
from protocols.wire.errors import PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.link.end import CLOSED, MESSAGE, NO_EVENT, OPENED
from protocols.wire.link.file_sink import BROKEN, REFUSED, WHOLE, FileSink
from protocols.wire.link.gateway import GatewayEnd
from protocols.wire.link.handshake import NOT_CONFIGURED
from protocols.wire.link.messages import CONFIG, EVENTS, FILE, LOG, SAMPLES, pack_config
from protocols.wire.sample import Event, Sample, decode, decode_events, verify

_MAX_FILE: Final = 65_536
_ENDED: Final = (WHOLE, REFUSED, BROKEN)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A sample and the milliseconds (of the client's clock) at which it came."""

    sample: Sample
    at_ms: int


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a boot, and the milliseconds at which a frame that has it came first."""

    boot_epoch: int
    event: Event
    at_ms: int


class LinkClient:
    """Talks to the node ``name`` of ``bench``. Use as ``async with``.

    ``samples`` has each sample once, in the order in which they came; ``counts`` has frames by the
    channel's name, ``wrong`` what was no right frame: it stays empty.
    """

    def __init__(self, bench: Bench, name: str) -> None:
        spec = bench.nodes[name].spec
        assert spec.key is not None
        self._key = bytes.fromhex(spec.key)
        self._uid = bytes.fromhex(spec.uid)
        self._mac = HmacSha256(self._key)
        self._baud = spec.link_baud
        self._path = bench.link_port(name)
        self.samples: list[Pushed] = []
        self.events: list[Happened] = []
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.answers: list[bytes] = []  # to what was asked, each with the number it was asked with
        self.sessions = 0
        self._known: set[tuple[int, int]] = set()
        self.sink: FileSink | None = None
        self._fd = -1
        self._out = b""
        self._timer: asyncio.TimerHandle | None = None
        self.end = self._new_end()

    async def __aenter__(self) -> Self:
        self._fd = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._fd, self._readable)
        self._turn()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def restart(self) -> None:
        """Forget the session, as a gateway that was killed; what is taken over stays."""
        self.end = self._new_end()
        self._out = b""
        self._turn()

    @property
    def is_open(self) -> bool:
        """True while there is a session."""
        return self.end.is_open

    def numbers(self, boot_epoch: int) -> list[int]:
        """Return the sequence numbers of a boot's samples, in the order in which they came."""
        headers = [pushed.sample.header for pushed in self.samples]
        return [header.seq for header in headers if header.boot_epoch == boot_epoch]

    def latency_ms(self, happened: Happened) -> float:
        """Return the milliseconds from an event at the node to its coming, by the node's clock."""
        clock = self.end.clock
        return happened.at_ms - clock.gateway_ms(happened.event.t_boot_ms, happened.at_ms)

    def ask(self, number: int, pdu: bytes) -> None:
        """Send a request as of the bus. AssertionError without a session."""
        assert self.end.send(CONFIG, pack_config(number, pdu)), "there is no room for a request"
        self._turn()

    async def fetch(self, file: int, limit_s: float) -> bytes:
        """Return a file, over as many sessions as it takes. PermissionError if it is refused."""
        content = bytearray()
        sink = self.sink = FileSink(file, _MAX_FILE, content.extend)
        self._ask()
        await Deadline(limit_s).until(lambda: sink.state in _ENDED, f"the end of file {file}")
        self.sink = None
        if sink.state == REFUSED:
            raise PermissionError(f"file {file} is refused with reason {sink.reason}")
        assert sink.state == WHOLE, self.wrong
        return bytes(content)

    # --- turns --------------------------------------------------------------------------------

    def _new_end(self) -> GatewayEnd:
        return GatewayEnd(
            lambda hello: self._key if hello.uid == self._uid else NOT_CONFIGURED,
            os.urandom,
            baud=self._baud,
        )

    def _now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:
            return
        self.end.feed(data, len(data), self._now_ms())
        self._turn()

    def _turn(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        end = self.end
        while (event := end.next_event()) != NO_EVENT:
            self._take(event)
        while not self._out and (count := end.poll(self._now_ms())):
            self._out = bytes(end.tx[:count])
            self._write()
        wait = 1 if self._out else end.wait_ms(self._now_ms())
        delay_s = max(1, wait if wait >= 0 else 1000) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._turn)

    def _write(self) -> None:
        try:
            self._out = self._out[os.write(self._fd, self._out) :]
        except BlockingIOError:
            return

    def _ask(self) -> None:
        if self.sink is not None and self.end.is_open:
            self.end.send(FILE, self.sink.request())
            self._turn()

    def _take(self, event: int) -> None:
        if event == OPENED:
            self.sessions += 1
            if self.sink is not None:
                self.end.send(FILE, self.sink.request())
        elif event == CLOSED:
            self.counts["closed"] += 1
        elif event == MESSAGE:
            takers: dict[int, Callable[[bytes], None]] = {
                CONFIG: self.answers.append,
                SAMPLES: self._sample,
                EVENTS: self._events,
                FILE: self._part,
                LOG: self._log,
            }
            channel, message = self.end.channel, bytes(self.end.message)
            try:
                takers[channel](message)
            except PeerError as error:
                self.wrong.append(str(error))
            if channel in (SAMPLES, EVENTS):
                self.end.taken(channel, self.end.mark)

    def _sample(self, message: bytes) -> None:
        verify(message, self._mac, self._uid)
        sample = decode(message)
        number = (sample.header.boot_epoch, sample.header.seq)
        if number in self._known:  # a session ended before the node knew that it was taken over
            self.counts["samples again"] += 1
            return
        self._known.add(number)
        self.counts["samples"] += 1
        self.samples.append(Pushed(sample, self._now_ms()))

    def _events(self, message: bytes) -> None:
        verify(message, self._mac, self._uid)
        self.counts["events"] += 1
        header, events = decode_events(message)
        known = {(each.boot_epoch, each.event.number) for each in self.events}
        for event in events:
            if (header.boot_epoch, event.number) not in known:
                self.events.append(Happened(header.boot_epoch, event, self._now_ms()))

    def _part(self, message: bytes) -> None:
        if self.sink is not None:
            self.sink.take(message)

    def _log(self, message: bytes) -> None:
        self.counts["log"] += 1
