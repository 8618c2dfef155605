"""A device of 122 registers, read by two profiles: 100 points of mixed kinds, 100 plain registers.

Both send the same request and get the same answer, so what differs is the profile alone.
"""

import struct
from pathlib import Path
from typing import Final

from gateway_agent.config import SerialBus
from gateway_agent.field.planner import JoinRules, poll_ms
from gateway_agent.field.profile import load_profile

WORDS: Final = 122
POINTS: Final = 100
TEXTS: Final = 5  # of the mixed points; records do not carry them
_VARIANTS: Final = 64

_HEAD: Final = (
    '[profile]\nname = "bench"\ntitle = "bench"\nsource = "tests/bench/mixed.py"\ngap_words = 30\n'
)


def _profile(points: list[tuple[int, str]]) -> str:
    assert len(points) == POINTS
    return _HEAD + "".join(
        f'[[point]]\nname = "p{index}"\nregister = {register}\n{keys}\n'
        for index, (register, keys) in enumerate(points)
    )


def plain_profile() -> str:
    """Return the profile of 100 plain registers, the first and the last of the device with them."""
    registers = [*range(POINTS - 1), WORDS - 1]
    return _profile([(register, 'type = "u16"') for register in registers])


def mixed_profile() -> str:
    """Return the profile of bits, scaled integers, floats and strings in the same registers."""
    points = [(bit // 16, f'type = "u16"\nbit = {bit % 16}') for bit in range(40)]
    points += [(4 + i, 'type = "i16"\nscale_register = 24') for i in range(20)]
    points += [(25 + 4 * i, 'type = "f64"') for i in range(12)]
    points += [(73 + 4 * i, 'type = "string"\nwords = 4') for i in range(TEXTS)]
    points += [(93 + 2 * i, 'type = "f32"\norder = "CDAB"') for i in range(6)]
    points += [(105 + i, 'type = "u16"\nscale = 0.25\nlow = 0\nhigh = 10000') for i in range(17)]
    return _profile(points)


def image(step: int) -> bytes:
    """Return the registers of one sample; values change as a sensor's do."""
    swing = abs(step - _VARIANTS // 2)
    words = [200 + 7 * index % 900 + swing for index in range(WORDS)]
    data = bytearray(struct.pack(f">{WORDS}H", *words))
    struct.pack_into(">h", data, 2 * 24, -1)
    struct.pack_into(">12d", data, 2 * 25, *(230.0 + (swing + i) / 7 for i in range(12)))
    data[2 * 73 : 2 * 93] = b"SN%06d" % 123456 * TEXTS
    for i in range(6):
        high, low = struct.unpack(">2H", struct.pack(">f", 50 + (swing + i) / 10))
        struct.pack_into(">2H", data, 2 * (93 + 2 * i), low, high)
    return bytes(data)


def answers() -> list[bytes]:
    """Return the PDUs (without the function byte) of consecutive samples."""
    return [bytes((2 * WORDS,)) + image(step) for step in range(_VARIANTS)]


def predicted_ms(profile: Path, bus: SerialBus) -> float:
    """Return the time that the planner predicts for one poll."""
    reads = load_profile(str(profile)).reads(JoinRules.of(bus))
    return poll_ms(bus, bus.device[0], reads)
