"""A cloud's MQTT front door: it checks what a CONNECT has, and cuts sessions whose token has ended.

MQTT 3.1.1 as far as a device needs it. What came is kept: each log-in with whether it was let in,
and each message.
"""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 8, 12, 14


class Login(NamedTuple):
    """The fields of a CONNECT that say who wants in."""

    client_id: str
    username: str
    password: str
    flags: int
    keepalive_s: int


class CloudBroker:
    """``admit`` returns the Unix time in seconds at which a log-in ends; None: it is refused."""

    def __init__(self, admit: Callable[[Login], float | None], now_s: Callable[[], float]) -> None:
        self._admit = admit
        self._now_s = now_s
        self.port = 0
        self.logins: list[Login] = []
        self.refused: list[Login] = []
        self.cut = 0  # sessions that went on beyond their token
        self.goodbyes = 0
        self.messages: list[tuple[str, bytes]] = []
        self.filters: list[str] = []
        #: The platform behind the broker: what it answers to a message, or nothing.
        self.platform: Callable[[str, bytes], tuple[str, bytes] | None] = lambda topic, body: None
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        end_s: float | None = None
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, body = await _packet(reader)
                if kind >> 4 == CONNECT:
                    login = _login(body)
                    end_s = self._admit(login)
                    (self.refused if end_s is None else self.logins).append(login)
                    writer.write(bytes((0x20, 2, 0, 5 if end_s is None else 0)))
                if end_s is None:
                    break
                if self._now_s() >= end_s:
                    self.cut += 1
                    break
                if kind >> 4 == DISCONNECT:
                    self.goodbyes += 1
                    break
                self._answer(kind, body, writer)
                await writer.drain()
            await writer.drain()
        writer.close()

    def _answer(self, kind: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        if kind >> 4 == PUBLISH:
            size = int.from_bytes(body[:2], "big")
            topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
            if kind & 6:
                writer.write(b"\x40\x02" + rest[:2])
                rest = rest[2:]
            self.messages.append((topic, rest))  # QoS 1 without its packet identifier
            answer = self.platform(topic, rest)
            if answer is not None:
                self.send(*answer)
        elif kind >> 4 == SUBSCRIBE:
            size = int.from_bytes(body[2:4], "big")
            self.filters.append(body[4 : 4 + size].decode())
            writer.write(b"\x90\x03" + body[:2] + b"\x01")
            self._writers.append(writer)
        elif kind >> 4 == PINGREQ:
            writer.write(b"\xd0\x00")

    def send(self, topic: str, payload: bytes) -> None:
        """Publish to the newest device that has subscribed to something, with QoS 0."""
        text = topic.encode()
        body = struct.pack(">H", len(text)) + text + payload
        size = (
            bytes((len(body) & 127 | 128, len(body) >> 7))
            if len(body) > 127
            else bytes((len(body),))
        )
        self._writers[-1].write(b"\x30" + size + body)


@asynccontextmanager
async def front_door(
    admit: Callable[[Login], float | None], now_s: Callable[[], float]
) -> AsyncIterator[CloudBroker]:
    """A cloud on a loopback port."""
    cloud = CloudBroker(admit, now_s)
    server = await asyncio.start_server(cloud.serve, "127.0.0.1", 0)
    cloud.port = server.sockets[0].getsockname()[1]
    async with server:
        yield cloud


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    (kind,) = await reader.readexactly(1)
    length = shift = 0
    while True:
        (byte,) = await reader.readexactly(1)
        length |= (byte & 127) << shift
        if byte < 128:
            return kind, await reader.readexactly(length)
        shift += 7


def _login(body: bytes) -> Login:
    assert body[:7] == b"\x00\x04MQTT\x04"
    fields, at = [], 10
    while at < len(body):
        size = int.from_bytes(body[at : at + 2], "big")
        fields.append(body[at + 2 : at + 2 + size])
        at += 2 + size
    flags, client_id = body[7], fields.pop(0).decode()
    if flags & 4:
        del fields[:2]  # topic and payload of the will
    username = fields.pop(0).decode() if flags & 0x80 else ""
    password = fields.pop(0).decode() if flags & 0x40 else ""
    assert not fields
    return Login(client_id, username, password, flags, int.from_bytes(body[8:10], "big"))


def answering(code: Callable[[str], int]) -> Callable[[str, bytes], tuple[str, bytes] | None]:
    """The answers of Aliyun, OneNET and Tencent; ``code`` of the id of a post."""

    def answer(topic: str, payload: bytes) -> tuple[str, bytes] | None:
        if not topic.startswith(("/sys", "$sys", "$thing")):
            return None
        post = json.loads(payload)
        if topic.startswith("/sys"):
            return f"{topic}_reply", _json(id=post["id"], code=code(post["id"]), data={})
        if topic.startswith("$sys"):
            return f"{topic}/reply", _json(id=post["id"], code=code(post["id"]), msg="")
        token, down = post["clientToken"], topic.replace("/up/", "/down/")
        return down, _json(method="report_reply", clientToken=token, code=code(token))

    return answer


def _json(**content: object) -> bytes:
    return json.dumps(content).encode()
