"""A bus that the board could not open fails as an absent device does, whatever is asked of it."""

from firmware.sensors.absent import AbsentBus
from tests.dual import raises


def test_every_operation_of_every_bus_fails_or_gives_nothing() -> None:
    bus = AbsentBus()
    assert bus.any() == 0
    assert not bus.reset()
    buf = bytearray(2)
    for call, arguments in (
        (bus.readinto, (buf, 2)),
        (bus.write, (buf,)),
        (bus.writeto, (0x44, buf)),
        (bus.readfrom_into, (0x44, buf)),
        (bus.writebyte, (0xCC,)),
        (bus.read_u16, ()),
    ):
        assert raises(OSError, call, *arguments).args[0] == 19  # ENODEV
