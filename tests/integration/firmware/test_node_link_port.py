"""A real node process and a gateway's end of the link on a pty: real bytes, in real time."""

import os
import select
import subprocess
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hil.engines.unix import HEAP_BYTES
from protocols.wire.hmac import HmacSha256
from protocols.wire.link.end import MESSAGE, NO_EVENT, OPENED
from protocols.wire.link.gateway import GatewayEnd
from protocols.wire.link.messages import CONFIG, EVENTS, LOG, SAMPLES, parse_log
from protocols.wire.registers import EVENT_BOOT, EVENT_CONFIG, EVENT_SENSOR
from protocols.wire.sample import decode, decode_events, verify
from tests.paths import ROOT

from .node_process import BOARD, KEY, LIMIT_S, UID, Cable, NodeProcess, interpreter, raw_fd

_TURN_S = 0.002


class Gateway:
    """The gateway's end at the far end of a cable."""

    def __init__(self, port: str) -> None:
        self._fd = raw_fd(port)
        self.restart()

    def restart(self) -> None:
        """Begin anew, as a gateway that has just started."""
        self.end = GatewayEnd(lambda hello: KEY, os.urandom, ())
        self.sessions = 0
        self.got: list[tuple[int, bytes]] = []

    def turn(self) -> None:
        """Move what there is to move, waiting a moment for bytes."""
        end = self.end
        data = b""
        if select.select([self._fd], [], [], _TURN_S)[0]:
            data = os.read(self._fd, 4096)
        now = int(time.monotonic() * 1000)
        end.feed(data, len(data), now)
        while (event := end.next_event()) != NO_EVENT:
            self.sessions += event == OPENED
            if event == MESSAGE:
                self.got.append((end.channel, bytes(end.message)))
        while count := end.poll(now):
            os.write(self._fd, end.tx[:count])

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}"
            self.turn()

    def messages(self, channel: int) -> list[bytes]:
        return [message for number, message in self.got if number == channel]

    def numbers(self) -> list[int]:
        """The numbers of the samples that came."""
        return [decode(frame).header.seq for frame in self.messages(SAMPLES)]

    def codes(self) -> list[int]:
        """The codes of the events in the newest frame."""
        frames = self.messages(EVENTS)
        return [event.code for event in decode_events(frames[-1])[1]] if frames else []

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def cables() -> Iterator[tuple[Cable, Cable]]:
    bus, link = Cable(), Cable()
    yield bus, link
    bus.close()
    link.close()


def test_a_node_pushes_answers_and_goes_on_with_the_next_gateway(
    tmp_path: Path, cables: tuple[Cable, Cable]
) -> None:
    bus, link = cables
    gateway = Gateway(link.master_end)
    settings = {"sample_period_ds": 2, "warmup_limit_s": 0}
    with NodeProcess(tmp_path, bus.node_end, link=link.node_end, settings=settings) as node:
        node.heap_bytes = HEAP_BYTES
        node.start()
        gateway.until(lambda: len(gateway.numbers()) >= 5, "samples")
        assert gateway.sessions == 1
        mac = HmacSha256(KEY)
        for frame in gateway.messages(SAMPLES) + gateway.messages(EVENTS):
            verify(frame, mac, UID)
        assert gateway.numbers() == list(range(1, len(gateway.numbers()) + 1))
        gateway.until(lambda: EVENT_SENSOR in gateway.codes(), "the event of a part that is silent")
        assert gateway.codes()[0] == EVENT_BOOT
        gateway.until(lambda: gateway.messages(LOG), "log lines")
        assert parse_log(gateway.messages(LOG)[0])[2] == b"boot 1, reset cause 0"

        assert gateway.end.send(CONFIG, b"\x00\x07\x03\x00\x02\x00\x01")
        gateway.until(lambda: gateway.messages(CONFIG), "the answer")
        assert gateway.messages(CONFIG) == [b"\x00\x07\x03\x02\x00\x02"]
        assert EVENT_CONFIG not in gateway.codes()

        last = gateway.numbers()[-1]
        gateway.restart()
        gateway.until(lambda: len(gateway.numbers()) >= 5, "samples of the second session")
        # Those on their way when it ended may come again; none is missing.
        first = gateway.numbers()[0]
        assert first <= last + 1
        assert gateway.numbers() == list(range(first, first + len(gateway.numbers())))
        gateway.close()


_FILL = """
import sys
sys.path.insert(0, ".")
tty = __import__("boards." + sys.argv[2] + ".tty", None, None, ("TtyLink",))
link = tty.TtyLink(sys.argv[1], 115200)
frame = memoryview(bytes(511))
sent = refused = 0
while refused < 100:
    count = link.write(frame)
    sent += count
    refused += count == 0
print(sent)
"""


def test_a_tty_that_nobody_reads_takes_what_it_has_room_for() -> None:
    """Nothing reads the far end; a write that waited for it would never return."""
    near, far = os.openpty()
    tty.setraw(far)
    run = subprocess.run(
        [interpreter(), "-c", _FILL, os.ttyname(far), BOARD.board.name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    data = b""
    while select.select([near], [], [], 0)[0]:
        data += os.read(near, 65536)
    assert len(data) == int(run.stdout) > 4096
    os.close(near)
    os.close(far)
