"""The serial link at 115,200 baud in virtual time: what the line carries, pictures, event latency.

Both ends are the product's, the line between them takes exactly the time that its bytes take. So
the figures are the same on every machine; what a node's own CPU adds is in the figures of its
image (:mod:`.link_board`).
"""

import os
import random
from collections.abc import Callable
from typing import Final

from protocols.wire.registers import EVENT_WORDS, map_of_role
from tests.peers.link_cases import KEY, KEY_ID, MAP_ID, UID, Download, key_of, serve
from tests.peers.link_ours import OurGateway, OurNode
from tests.peers.link_peer import EVENTS, SAMPLES
from tests.peers.link_talk import Event, Talk

from .report import Figure

BAUD: Final = 115_200
PICTURE: Final = 5 * 1024
_BITS: Final = 10
_SAMPLE: Final = 2 * map_of_role("air").words
_EVENT: Final = 2 * EVENT_WORDS
_T35_S: Final = 0.00175  # a silence between two Modbus frames, at this speed
_PAGE: Final = 240  # bytes of a picture in one Modbus answer
_EVENTS: Final = 400
_BACKLOG: Final = 4000  # samples


def _opened() -> Talk:
    talk = Talk(OurNode(UID, MAP_ID, 1, KEY_ID, KEY), OurGateway(key_of))
    talk.opened()
    talk.run(3000)  # past the first questions for the time
    return talk


def _download(talk: Talk, data: bytes) -> Download:
    serve(talk, data)
    download = Download(talk.ends[1])
    talk.watch(download.on_event)
    download.ask()
    return download


def samples_share() -> float:
    """Return the share of the line that is sample frames, while a backlog is sent."""
    talk = _opened()
    frames = [os.urandom(_SAMPLE) for _ in range(_BACKLOG)]
    for frame in frames:
        talk.ends[0].send(SAMPLES, frame)
    begun = talk.now
    talk.until(lambda: len(talk.messages(1, SAMPLES)) == len(frames), 60_000)
    return len(frames) * _SAMPLE * _BITS / BAUD / ((talk.now - begun) / 1000)


def file_share() -> float:
    """Return the share of the line that is the file's own bytes, of 64 KB."""
    talk = _opened()
    data = os.urandom(65_536)
    begun = talk.now
    download = _download(talk, data)
    talk.until(lambda: download.whole, 60_000)
    return len(data) * _BITS / BAUD / ((talk.now - begun) / 1000)


def picture_s() -> float:
    """Return the seconds from the request for a picture to its last byte."""
    talk = _opened()
    begun = talk.now
    download = _download(talk, os.urandom(PICTURE))
    talk.until(lambda: download.whole, 60_000)
    return (talk.now - begun) / 1000


def picture_by_modbus_s() -> float:
    """Return the least time for the same picture by Modbus: the bytes and silences alone.

    Each page is selected (FC 06, 8 bytes each way) and read (FC 04: 8 bytes and 5 + 240); every
    frame ends with a silence. What the master and the node take in between comes on top.
    """
    pages = -(-PICTURE // _PAGE)
    wire = (8 + 8 + 8 + 5 + _PAGE) * _BITS / BAUD
    return pages * (wire + 4 * _T35_S)


def event_latency_ms(disturb: Callable[[Talk], None]) -> float:
    """Return p99 of the ms from an event at the node to its frame at the gateway.

    The time that the event's own frame takes on the line is in it. ``disturb`` gives the line
    something else to do.
    """
    talk = _opened()
    chance = random.Random(1)
    due: dict[bytes, int] = {}
    took: list[int] = []

    def on_event(side: int, event: Event) -> None:
        if side == 1 and event[:2] == ("message", EVENTS):
            message = event[2]
            assert isinstance(message, bytes)
            took.append(talk.now - due.pop(message))

    talk.watch(on_event)
    disturb(talk)
    for number in range(_EVENTS):
        talk.run(chance.randrange(150, 400))
        event = number.to_bytes(4) + os.urandom(_EVENT - 4)
        due[event] = talk.now
        talk.ends[0].send(EVENTS, event)
    talk.until(lambda: not due, 10_000)
    return sorted(took)[len(took) * 99 // 100]


def _push_samples(talk: Talk) -> None:
    """Send a sample each second, as a node does."""

    def on_step() -> None:
        if talk.now % 1000 == 0:
            talk.ends[0].send(SAMPLES, os.urandom(_SAMPLE))

    talk.on_step = on_step


def _send_a_file(talk: Talk) -> None:
    """Send pictures without an end."""
    data = os.urandom(65_536)

    def again() -> None:
        if not running or running[-1].whole:
            running.append(Download(talk.ends[1]))
            talk.watch(running[-1].on_event)
            running[-1].ask()

    running: list[Download] = []
    serve(talk, data)
    talk.on_step = again


def figures() -> list[Figure]:
    """Measure everything once."""
    own_ms = (_EVENT + 30) * _BITS * 1000 / BAUD
    note = f"{BAUD:,} baud, virtual time"
    return [
        Figure("link: payload on the line, samples", "", ">= 0.93", note, [samples_share()]),
        Figure("link: payload on the line, a file of 64 KB", "", ">= 0.93", note, [file_share()]),
        Figure("link: picture of 5 KB", "s", "<= 0.6", note, [picture_s()]),
        Figure(
            "the same picture by Modbus", "s", None,
            f"{BAUD:,} baud, computed: bytes and silences alone", [picture_by_modbus_s()],
        ),
        Figure(
            "link: event to gateway, p99, samples each second", "ms",
            f"<= {20 + own_ms:.0f}", f"{own_ms:.0f} ms are its own frame",
            [event_latency_ms(_push_samples)],
        ),
        Figure(
            "link: event to gateway, p99, while a file is sent", "ms",
            None, "waits for the frame that is on the line", [event_latency_ms(_send_a_file)],
        ),
    ]  # fmt: skip
