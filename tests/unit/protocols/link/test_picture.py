"""Pictures: a large one through a bad wire and restarts, a small one in little time."""

from protocols.wire.link.file_sink import WHOLE

from .world import Faults, World

KILOBYTE = 1024


def whole(world: World) -> bool:
    """Whether the picture is here."""
    return world.sink is not None and world.sink.state == WHOLE


def opened(world: World) -> World:
    """Run until a session is open at both ends."""
    assert world.run(10_000, lambda: world.gateway.is_open)
    return world


def test_64_kb_over_one_per_cent_byte_faults_and_three_restarts() -> None:
    world = opened(World(5))
    world.faults = Faults(byte=0.01)
    world.fetch(64 * KILOBYTE)
    for quarter, restart in ((1, "node"), (2, "gateway"), (3, "both")):
        stop_at = quarter * 16 * KILOBYTE
        assert world.run(120_000, lambda stop_at=stop_at: len(world.stored) >= stop_at)  # type: ignore[misc]
        if restart in ("node", "both"):
            world.start_node()
        if restart in ("gateway", "both"):
            world.start_gateway()
    assert world.run(120_000, lambda: whole(world)), world.state()
    world.check()
    assert world.picture is not None
    assert bytes(world.stored) == world.picture.data
    # 6 s on a clean line of 115,200 baud; here each byte is damaged with 1 %, so most frames are.
    assert world.now_ms < 240_000


def test_5_kb_at_115_200_baud_take_less_than_600_ms() -> None:
    world = opened(World(1))
    world.run(3000)
    begun_ms = world.now_ms
    world.fetch(5 * KILOBYTE)
    assert world.run(600, lambda: whole(world)), world.state()
    # The line alone needs 445 ms.
    assert world.now_ms - begun_ms > 445
