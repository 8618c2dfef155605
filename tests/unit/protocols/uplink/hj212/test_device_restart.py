"""What a device sends again after its process ended; when something unanswered counts as sent."""

from dataclasses import replace

from protocols.uplink.hj212 import Hj212Upload, Moment, UploadDone, parse_body
from protocols.uplink.hj212.device import Hj212Device
from protocols.uplink.hj212.frame_maker import FrameMaker
from protocols.uplink.hj212.options import Hj212Options, Hj212Settings

from .platform_world import MN, START_MS, PlatformWorld, asked, qn

OPTIONS = Hj212Options(MN, "32", on_connect=())
LONG = parse_body(
    "DataTime=20160801080000;" + ";".join(f"w{n:05}-Avg=7.5,w{n:05}-Flag=N" for n in range(70))
)


def ended(world: PlatformWorld) -> list[int]:
    """Return the keys of uploads that are done."""
    return [event.key for event in world.take() if isinstance(event, UploadDone)]


def restarted(world: PlatformWorld, last_qn_ms: int = 0) -> None:
    """Let a new process go on in this world."""
    settings = Hj212Settings(over_time_s=5, re_count=3)
    options = world.device.options
    world.device = Hj212Device(options, settings, world.site, START_MS, last_qn_ms)
    world.events = world.device.connect(world.now)


def test_numbers_follow_a_clock_that_was_over_an_hour_ahead() -> None:
    """Less is bridged, so that no number is given twice; more would be in the future for ever."""
    maker = FrameMaker(OPTIONS)
    hour_ms = 3_600_000
    maker.new_qn(Moment(0, START_MS + hour_ms))
    maker.new_qn(Moment(0, START_MS))
    assert maker.last_qn_ms == START_MS + hour_ms + 1
    maker.new_qn(Moment(0, START_MS))
    assert maker.last_qn_ms == START_MS


def test_parts_that_were_sent_have_their_numbers_after_a_restart_too() -> None:
    """Part 1 was answered, part 2 was not, part 3 was not sent: PNUM, PNO and QN stay."""
    world = PlatformWorld(OPTIONS)
    world.device.upload(Hj212Upload(3, "2061", LONG), world.now)
    parts = world.sent()
    assert world.device.take_numbers() == {3: (qn(parts[0]),)}
    world.ms += 1
    parts += world.say(asked("9014", qn=qn(parts[0])))
    numbers = world.device.take_numbers()
    assert numbers == {3: (qn(parts[0]), qn(parts[1]))}
    assert not world.device.has_numbers
    last_qn_ms = world.device.last_qn_ms
    world.ms -= 1000  # the clock was set back
    restarted(world, last_qn_ms)
    world.device.upload(Hj212Upload(9, "2061", LONG, qns=numbers[3]), world.now)
    again = world.sent()
    assert not world.device.has_numbers
    while not (keys := ended(world)):
        again += world.say(asked("9014", qn=qn(again[-1])))
    assert keys == [9]
    assert again[:2] == parts
    assert qn(again[2]) > qn(again[1])
    assert ";PNUM=3;PNO=3;" in again[2]


def test_what_a_platform_without_answers_was_not_sent_goes_out_again() -> None:
    """The connection ends while the bytes are still with us."""
    world = PlatformWorld(replace(OPTIONS, awaits_ack=False))
    world.device.upload(Hj212Upload(1, "2061", LONG), world.now)
    assert world.device.outgoing(world.now)
    world.device.disconnect()
    assert ended(world) == []
    assert not world.device.is_idle
    world.events += world.device.connect(world.now)
    first = world.device.outgoing(world.now)
    world.events += world.device.tick(world.now)
    assert ended(world) == []
    assert first.count(b"PNUM=3") == 3
    world.sent()
    assert ended(world) == [1]
    assert world.device.is_idle
