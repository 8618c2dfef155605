"""A platform for tests of the device's side: its frames are made here, from annexes A and C."""

import re
from collections.abc import Iterator

from protocols.uplink.hj212 import Body, parse_body
from protocols.uplink.hj212.device import Hj212Device
from protocols.uplink.hj212.events import Hj212Event
from protocols.uplink.hj212.options import Hj212Options, Hj212Settings
from protocols.uplink.hj212.site import EmptySite, Moment

MN = "010000A8900016F000169DC0"
START_MS = 1_470_013_137_223  # 2016-08-01 08:58:57.223 in Beijing
_FRAME = re.compile(rb"##(\d{4})(.*?&&.*?&&)([0-9A-F]{4})\r\n", re.DOTALL)


def annex_a(segment: bytes) -> str:
    """Return the checksum as annex A describes it, bit by bit."""
    register = 0xFFFF
    for byte in segment:
        register = (register >> 8) ^ byte
        for _ in range(8):
            carry = register & 1
            register >>= 1
            if carry:
                register ^= 0xA001
    return f"{register:04X}"


def asked(
    cn: str, cp: str = "", *, qn: str = "20160801085857223", st: str = "32", **more: str
) -> bytes:
    """Return a platform's frame; ``more``: PW, MN, Flag."""
    pw, mn, flag = more.get("pw", "123456"), more.get("mn", MN), more.get("flag", "5")
    segment = f"QN={qn};ST={st};CN={cn};PW={pw};MN={mn};Flag={flag};CP=&&{cp}&&".encode()
    return b"##%04d%b%b\r\n" % (len(segment), segment, annex_a(segment).encode())


class OneSite(EmptySite):
    """A site with an hour of minutes, one instrument and one parameter."""

    def __init__(self) -> None:
        self.time_set: int | None = None
        self.drawn = 0

    def history(self, cn: str, begin_ms: int, end_ms: int) -> Iterator[Body]:
        """Yield the ten-minute bodies of that time."""
        if cn == "2051":
            for moment in range(begin_ms, end_ms + 1, 600_000):
                self.drawn += 1
                yield parse_body(f"DataTime={moment};w01001-Avg=7.5,w01001-Flag=N")

    def latest(self, cn: str) -> Body | None:
        """Return a real-time body; no equipment."""
        return parse_body("DataTime=1;w01001-Rtd=7.1,w01001-Flag=N") if cn == "2011" else None

    def information(self, cn: str, pol_id: str, info_id: str) -> list[Body]:
        """Return the serial number of the one instrument."""
        if cn == "3019" and pol_id == "w01018":
            return [parse_body("PolId=w01018;w01018-SN=010000A8900016F000169DC1")]
        return []

    def set_time(self, unix_ms: int) -> bool:
        """Take the time."""
        self.time_set = unix_ms
        return True

    def set_parameter(self, pol_id: str, info_id: str, value: str) -> bool:
        """Have one parameter."""
        return (pol_id, info_id) == ("w01018", "i13004")


class PlatformWorld:
    """A device, a clock and what the device sent."""

    def __init__(
        self, options: Hj212Options | None = None, settings: Hj212Settings | None = None
    ) -> None:
        self.ms = 0
        self.site = OneSite()
        self.device = Hj212Device(
            options or Hj212Options(MN, "32", on_connect=()),
            settings or Hj212Settings(over_time_s=5, re_count=3),
            self.site,
            START_MS,
        )
        self.events: list[Hj212Event] = self.device.connect(self.now)

    @property
    def now(self) -> Moment:
        """Return the moment."""
        return Moment(self.ms, START_MS + self.ms)

    def say(self, frame: bytes) -> list[str]:
        """Let the platform send; return what the device sends."""
        self.events += self.device.receive(frame, self.now)
        return self.sent()

    def sent(self) -> list[str]:
        """Return the data segments that the device sends now, their LEN and checksum checked."""
        segments = []
        while data := self.device.outgoing(self.now):
            rest = data
            while rest:
                found = _FRAME.match(rest)
                assert found is not None, rest
                assert int(found[1]) == len(found[2])
                assert annex_a(found[2]) == found[3].decode()
                segments.append(found[2].decode())
                rest = rest[found.end() :]
        self.events += self.device.receive(b"", self.now)
        return segments

    def wait(self) -> list[str]:
        """Let the time pass until something is due; return what the device sends."""
        due = self.device.next_ms()
        assert due is not None
        self.ms = max(self.ms, due)
        self.events += self.device.tick(self.now)
        return self.sent()

    def take(self) -> list[Hj212Event]:
        """Return the events since the last call."""
        events, self.events = self.events, []
        return events


def cns(segments: list[str]) -> list[str]:
    """Return the command numbers of segments."""
    return [segment.split("CN=")[1][:4] for segment in segments]


def cp(segment: str) -> str:
    """Return what stands between the two &&."""
    return segment.split("CP=&&")[1].removesuffix("&&")


def qn(segment: str) -> str:
    """Return the request number."""
    return segment.split("QN=")[1].split(";", maxsplit=1)[0]
