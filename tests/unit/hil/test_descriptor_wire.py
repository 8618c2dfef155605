"""The wire over a descriptor, with a far end that does not read: what waits, and what is lost."""

import asyncio
import socket

import pytest

from hil.errors import WireError
from hil.wires.descriptor import DescriptorWire

LIMIT_S = 10


def pair() -> tuple[int, socket.socket]:
    """The descriptor of a wire, and its far end; neither buffers more than the kernel must."""
    near, far = socket.socketpair()
    for end in (near, far):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        end.setblocking(False)
    return near.detach(), far


async def take(far: socket.socket, count: int) -> bytes:
    """Read ``count`` bytes at the far end."""
    data = b""
    async with asyncio.timeout(LIMIT_S):
        while len(data) < count:
            data += await asyncio.get_running_loop().sock_recv(far, 4096)
    return data


async def test_what_the_kernel_does_not_take_waits_and_keeps_its_order() -> None:
    fd, far = pair()
    wire = DescriptorWire(tx_limit=1 << 20)
    wire.attach(fd)
    sent = bytes(index % 251 for index in range(200_000))
    for start in range(0, len(sent), 1000):
        assert wire.write(sent[start : start + 1000]) == 1000
    assert wire.pending() > 0
    assert await take(far, len(sent)) == sent
    assert (wire.pending(), wire.overrun) == (0, 0)
    wire.close()
    far.close()


async def test_more_than_may_wait_is_lost_and_counted() -> None:
    fd, far = pair()
    wire = DescriptorWire(tx_limit=100)
    wire.attach(fd)
    taken = wire.write(bytes(1 << 20))
    assert wire.pending() == 100
    assert wire.overrun == (1 << 20) - taken > 0
    wire.flush()
    assert wire.pending() == 0
    wire.close()
    far.close()


async def test_a_far_end_that_is_gone_leaves_a_wire_without_power() -> None:
    fd, far = pair()
    wire = DescriptorWire()
    wire.attach(fd)
    far.close()
    wire.write(b"x")
    assert not wire.connected
    assert wire.write(b"yz") == 0
    assert wire.overrun == 3
    wire.close()
    fd, far = pair()
    with pytest.raises(WireError, match="closed"):
        wire.attach(fd)
    far.close()
