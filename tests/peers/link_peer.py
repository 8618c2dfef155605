"""A second implementation of the serial link, so that docs/link.md is proven to be enough for one.

Written from that page alone, with the standard library and cryptography; it shares nothing with
protocols/wire/link. Bytes in, bytes out, time in milliseconds as an argument.
"""

import hmac
import os
import struct
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ASK, HELLO, ANSWER, CONFIRM, REFUSE, DATA, ACK, TIME, BYE = 1, 2, 3, 4, 5, 0x10, 0x11, 0x12, 0x13
SAMPLES, EVENTS, CONFIG, FILE, LOG = 1, 2, 3, 5, 6
BY_PRIORITY = (EVENTS, CONFIG, SAMPLES, LOG, FILE)
NO_KEY = bytes(32)


def cobs(content: bytes) -> bytes:
    """Return content without zero bytes."""
    out, run = bytearray(), bytearray()
    for index, byte in enumerate(content):
        if byte:
            run.append(byte)
        if not byte or (len(run) == 254 and index + 1 < len(content)):
            out += bytes((len(run) + 1,)) + run
            run.clear()
    return bytes(out + bytes((len(run) + 1,)) + run)


def un_cobs(data: bytes) -> bytes | None:
    """Return the content of a frame, or None if it is no COBS."""
    out = bytearray()
    while data:
        count, piece, data = data[0], data[1 : data[0]], data[data[0] :]
        if len(piece) != count - 1:
            return None
        out += piece + (b"\0" if count < 255 and data else b"")
    return bytes(out)


def frame(body: bytes) -> bytes:
    return b"\0" + cobs(body + zlib.crc32(body).to_bytes(4)) + b"\0"


def opening(kind: int, payload: bytes) -> bytes:
    return frame(struct.pack(">BBHH", kind, 0, 0, len(payload)) + payload)


def proof(key: bytes, side: bytes, hello: bytes, answer: bytes) -> bytes:
    return hmac.digest(key, b"\x01\xfd" + side + hello + answer, "sha256")[:16]


def session_keys(key: bytes, hello: bytes, answer: bytes) -> tuple[bytes, bytes]:
    """Return the key of frames from the node and that of frames from the gateway."""
    info = b"tf-link 1" + hello + answer
    both = HKDF(SHA256(), 64, answer[7:23] + hello[25:41], info).derive(key)
    return both[:32], both[32:]


@dataclass
class Packet:
    payload: bytes
    order: int = -1
    sent_at: int = 0
    times: int = 0
    arrived: bool = False


@dataclass
class Channel:
    waiting: deque[bytes] = field(default_factory=deque)
    packets: dict[int, Packet] = field(default_factory=dict)  # from `first` on, not taken over
    first: int = 0
    next: int = 0
    window: int = 0
    expected: int = 0  # receiving: the first packet that is not taken over
    delivered: int = 0  # receiving: the first packet that was not handed out yet
    early: dict[int, bytes] = field(default_factory=dict)
    ack_due: bool = False


class Peer(ABC):
    """What both ends have in common: frames, the session's tags, channels with repetition."""

    opening_types: tuple[int, ...] = ()

    def __init__(self, largest: int = 512, window: int = 4096) -> None:
        self.largest, self.window = largest, window
        self.packet_limit = 512  # bytes; smaller packets survive a noisy line better
        self.held: set[int] = set()  # channels that `taken` takes over, not the arrival
        self.events: deque[tuple[object, ...]] = deque()
        self.counts = dict.fromkeys(("noise", "forged", "repeats", "resent", "frames"), 0)
        self.opening: deque[bytes] = deque()
        self.raw = bytearray()
        self.is_open, self.next_opening = False, 0

    def _start(self, send: bytes, receive: bytes, largest: int, window: int, now: int) -> None:
        self.send_key, self.receive_key = send, receive
        self.session_largest, self.session_window = largest, window
        self.counter = self.order = self.highest = self.had = 0
        self.heard = now
        self.srtt, self.variation, self.timeout = -1.0, 0.0, 1000.0
        self.channels = {number: Channel(window=window) for number in BY_PRIORITY}
        self.session_out: deque[tuple[int, bytes]] = deque()
        self.is_open = True
        self.events.append(("opened",))

    def _end(self, reason: int) -> None:
        self.is_open = False
        self.events.append(("closed", reason))

    # Receiving.

    def feed(self, data: Iterable[int], now: int) -> None:
        for byte in data:
            if byte:
                self.raw.append(byte)
                if len(self.raw) > 600:
                    self.counts["noise"] += 100
                    del self.raw[:100]  # what is left is too long still, so it stays noise
            elif self.raw:
                if not self._frame(bytes(self.raw), now):
                    self.counts["noise"] += len(self.raw)
                self.raw.clear()

    def _frame(self, wire: bytes, now: int) -> bool:
        content = un_cobs(wire) if len(wire) <= 510 else None
        if content is None or len(content) < 10:
            return False
        body, crc = content[:-4], int.from_bytes(content[-4:])
        kind, channel, sequence, length = struct.unpack_from(">BBHH", body)
        extra = 12 if kind >= DATA else 0
        if zlib.crc32(body) != crc or len(body) != 6 + length + extra:
            return False
        payload = body[6 : 6 + length]
        if kind in self.opening_types:
            self._opening_frame(kind, payload, now)
        elif DATA <= kind <= BYE:
            if self.is_open and self._is_right(body):
                self.heard = now
                self.counts["frames"] += 1
                self._session_frame(kind, channel, sequence, payload, now)
        else:
            return False
        return True

    def _is_right(self, body: bytes) -> bool:
        tag = hmac.digest(self.receive_key, body[:-8], "sha256")[:8]
        if not hmac.compare_digest(tag, body[-8:]):
            self.counts["forged"] += 1
            return False
        ahead = int.from_bytes(body[-12:-8]) - self.highest
        if ahead <= -32 or (ahead <= 0 and self.had >> -ahead & 1):
            self.counts["repeats"] += 1
            return False
        if ahead > 0:
            self.had, self.highest = (self.had << ahead | 1) & 0xFFFFFFFF, self.highest + ahead
        else:
            self.had |= 1 << -ahead
        return True

    @abstractmethod
    def _opening_frame(self, kind: int, payload: bytes, now: int) -> None:
        """Take a frame before the session is open."""

    def _session_frame(self, kind: int, number: int, seq: int, payload: bytes, now: int) -> None:
        if kind == BYE:
            self._end(payload[0])
        elif kind == TIME and payload[0] == 0:
            stamps = struct.pack(">II", now & 0xFFFFFFFF, now & 0xFFFFFFFF)
            self.session_out.append((TIME, b"\1" + payload[1:9] + stamps))
        elif kind == TIME:
            t1 = int.from_bytes(payload[1:9])
            t2, t3 = struct.unpack(">II", payload[9:17])
            self.events.append(("time", ((t2 - t1) + (t3 - now)) / 2, (now - t1) - (t3 - t2)))
        elif number in self.channels and kind == DATA:
            self._packet(number, self.channels[number], seq, payload)
        elif number in self.channels:
            self._acknowledged(self.channels[number], seq, payload, now)

    def _packet(self, number: int, channel: Channel, seq: int, payload: bytes) -> None:
        channel.ack_due = True
        ahead = (seq - channel.expected) & 0xFFFF
        if ahead < 32 and seq not in channel.early:
            channel.early[seq] = payload
            while channel.delivered in channel.early:
                packet = channel.early[channel.delivered]
                while packet:
                    size, packet = packet[0], packet[1:]
                    if size & 0x80:
                        size, packet = (size & 0x7F) << 8 | packet[0], packet[1:]
                    self.events.append(("message", number, packet[:size]))
                    packet = packet[size:]
                channel.delivered = (channel.delivered + 1) & 0xFFFF
            if number not in self.held:
                self.taken(number)

    def taken(self, number: int) -> None:
        """Take over all that was handed out."""
        channel = self.channels[number]
        while channel.expected != channel.delivered:
            del channel.early[channel.expected]
            channel.expected = (channel.expected + 1) & 0xFFFF
            channel.ack_due = True

    def _acknowledged(self, channel: Channel, seq: int, payload: bytes, now: int) -> None:
        if (seq - channel.first) & 0xFFFF > (channel.next - channel.first) & 0xFFFF:
            return  # older than what is known
        channel.window, arrived = struct.unpack(">HI", payload)
        newest = -1
        for number, packet in list(channel.packets.items()):
            bit = (number - seq) & 0xFFFF
            over = (number - channel.first) & 0xFFFF < (seq - channel.first) & 0xFFFF
            if over or (bit < 32 and arrived >> bit & 1):
                if not packet.arrived and packet.times == 1:
                    self._measured(now - packet.sent_at)
                newest = max(newest, packet.order)
                packet.arrived = True
            if over:
                del channel.packets[number]
        channel.first = seq
        for packet in channel.packets.values():
            if not packet.arrived and packet.order < newest:
                packet.sent_at = now - 5000  # due at once

    def _measured(self, trip: float) -> None:
        if self.srtt < 0:
            self.srtt, self.variation = trip, trip / 2
        else:
            self.variation += (abs(self.srtt - trip) - self.variation) / 4
            self.srtt += (trip - self.srtt) / 8
        self.timeout = min(4000.0, max(100.0, self.srtt + 4 * self.variation))

    # Sending.

    def room(self) -> int:
        """Return how many bytes a message may have."""
        content = self.session_largest - 2
        return content - -(-content // 255) - 22 - 2

    def send(self, number: int, message: bytes) -> None:
        self.channels[number].waiting.append(message)

    def drop(self, number: int) -> None:
        """Forget what was not sent yet."""
        self.channels[number].waiting.clear()

    def next_event(self) -> tuple[object, ...] | None:
        return self.events.popleft() if self.events else None

    def close(self, reason: int) -> None:
        self.session_out.append((BYE, bytes((reason,))))

    def poll(self, now: int) -> bytes:
        """Return the next frame to send, or nothing."""
        if self.is_open and now - self.heard >= 15000:
            self._end(-1)
        self._ask_to_open(now)
        if self.opening:
            return self.opening.popleft()
        if not self.is_open:
            return b""
        if self.session_out:
            kind, payload = self.session_out.popleft()
            data = self._session(kind, 0, 0, payload)
            if kind == BYE:
                self._end(payload[0])
            return data
        for number, channel in self.channels.items():
            if channel.ack_due:
                channel.ack_due = False
                arrived = sum(1 << ((seq - channel.expected) & 0xFFFF) for seq in channel.early)
                ack = struct.pack(">HI", self.session_window, arrived)
                return self._session(ACK, number, channel.expected, ack)
        for number in BY_PRIORITY:
            data = self._next_packet(number, self.channels[number], now)
            if data:
                return data
        return b""

    @abstractmethod
    def _ask_to_open(self, now: int) -> None:
        """Ask for a session, if it is this end that asks."""

    def _next_packet(self, number: int, channel: Channel, now: int) -> bytes:
        for seq, packet in channel.packets.items():
            if not packet.arrived and now - packet.sent_at >= self.timeout:
                if now - packet.sent_at < 5000:
                    self.timeout = min(4000.0, self.timeout * 2)
                self.counts["resent"] += 1
                return self._data(number, seq, packet, now)
        payload = bytearray()
        taken = 0
        for message in channel.waiting:
            size = len(message)
            head = bytes((size,)) if size < 128 else bytes((0x80 | size >> 8, size & 0xFF))
            if payload and len(payload) + len(head) + size > min(
                self.packet_limit, self.room() + 2
            ):
                break
            payload += head + message
            taken += 1
        flight = sum(len(packet.payload) for packet in channel.packets.values())
        allowed = min(channel.window, self.session_window)
        if not taken:
            return b""
        if len(channel.packets) >= 32 or (channel.packets and flight + len(payload) > allowed):
            oldest = channel.packets[channel.first]
            if now - oldest.sent_at < self.timeout:
                return b""
            return self._data(number, channel.first, oldest, now)  # a question
        for _ in range(taken):
            channel.waiting.popleft()
        packet = channel.packets[channel.next] = Packet(bytes(payload))
        seq, channel.next = channel.next, (channel.next + 1) & 0xFFFF
        return self._data(number, seq, packet, now)

    def _data(self, number: int, seq: int, packet: Packet, now: int) -> bytes:
        self.order += 1
        packet.order, packet.sent_at, packet.times = self.order, now, packet.times + 1
        return self._session(DATA, number, seq, packet.payload)

    def _session(self, kind: int, channel: int, seq: int, payload: bytes) -> bytes:
        self.counter += 1
        body = struct.pack(">BBHH", kind, channel, seq, len(payload)) + payload
        body += self.counter.to_bytes(4)
        return frame(body + hmac.digest(self.send_key, body, "sha256")[:8])


class PeerNode(Peer):
    """The node's end."""

    opening_types = (ASK, ANSWER, REFUSE)

    def __init__(
        self, uid: bytes, map_id: int, epoch: int, key_id: int, key: bytes = NO_KEY, **sizes: int
    ) -> None:
        super().__init__(**sizes)
        self.key = key
        self.uid, self.map_id, self.epoch, self.key_id = uid, map_id, epoch, key_id
        self.hello: bytes | None = None

    def _hello(self) -> None:
        if self.hello is None:
            sizes = (self.epoch, self.key_id, self.largest, self.window)
            self.hello = struct.pack(">BH", 1, self.map_id) + self.uid
            self.hello += struct.pack(">IHHH", *sizes) + os.urandom(16)
        self.opening.append(opening(HELLO, self.hello))

    def _ask_to_open(self, now: int) -> None:
        if not self.is_open and now >= self.next_opening:
            self.next_opening = now + 1000
            self._hello()

    def _opening_frame(self, kind: int, payload: bytes, now: int) -> None:
        if kind == REFUSE:
            self.events.append(("refused", payload[0]))
        elif kind == ASK:
            self._hello()
        elif self.hello and len(payload) == 39:
            hello, answer = self.hello, payload[:23]
            _, key_id, largest, window = struct.unpack_from(">BHHH", answer)
            right = payload[23:] == proof(self.key, b"G", hello, answer)
            if key_id != self.key_id or not right:
                self.opening.append(opening(REFUSE, b"\4" if key_id == self.key_id else b"\3"))
                return
            self.hello = None  # a HELLO becomes one session at most
            self.opening.append(opening(CONFIRM, proof(self.key, b"N", hello, answer)))
            send, receive = session_keys(self.key, hello, answer)
            self._start(send, receive, min(largest, self.largest), min(window, self.window), now)


class PeerGateway(Peer):
    """The gateway's end; `check` gives a node's key, or the reason of a REFUSE."""

    opening_types = (HELLO, CONFIRM, REFUSE)

    def __init__(self, check: Callable[[bytes, int], bytes | int], **sizes: int) -> None:
        super().__init__(**sizes)
        self.check = check
        self.pair: tuple[bytes, bytes, bytes] | None = None
        self.next_time, self.asked = 0, 0

    def _ask_to_open(self, now: int) -> None:
        if not self.is_open and now >= self.next_opening:
            self.next_opening = now + 2000
            self.opening.append(opening(ASK, b"\1"))
        elif self.is_open and now >= self.next_time:
            self.asked += 1
            self.next_time = now + (250 if self.asked < 8 else 5000)
            self.session_out.append((TIME, b"\0" + now.to_bytes(8)))

    def _opening_frame(self, kind: int, payload: bytes, now: int) -> None:
        if kind == REFUSE:
            self.events.append(("refused", payload[0]))
        elif kind == HELLO:
            self._hello(payload)
        elif self.pair and len(payload) == 16:
            hello, answer, key = self.pair
            if payload != proof(key, b"N", hello, answer):
                self.opening.append(opening(REFUSE, b"\4"))
                return
            self.pair = None
            receive, send = session_keys(key, hello, answer)
            largest, window = struct.unpack_from(">HH", answer, 3)
            hers, her_window = struct.unpack_from(">HH", hello, 21)
            self.next_time, self.asked = now, 0
            self.epoch = int.from_bytes(hello[15:19])
            self._start(send, receive, min(largest, hers), min(window, her_window), now)

    def _hello(self, hello: bytes) -> None:
        found: bytes | int = 1
        if self.pair and hello == self.pair[0]:
            _, answer, key = self.pair
            self.opening.append(opening(ANSWER, answer + proof(key, b"G", hello, answer)))
            return
        if hello[:1] == b"\1" and len(hello) == 41:
            key_id, largest, window = struct.unpack_from(">HHH", hello, 19)
            found = self.check(hello[3:15], key_id)
            if not 256 <= largest <= 512 or window < 256:
                found = 5
        if isinstance(found, int):
            self.opening.append(opening(REFUSE, bytes((found,))))
            return
        answer = struct.pack(">BHHH", 1, key_id, self.largest, self.window) + os.urandom(16)
        self.pair = (hello, answer, found)
        self.opening.append(opening(ANSWER, answer + proof(found, b"G", hello, answer)))
