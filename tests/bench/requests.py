"""The requests that both benchmarks of a node send, and its heap as both of them take it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from hil.engines.base import NodeSpec
from hil.engines.console import Console
from protocols.wire.crc import crc16
from protocols.wire.registers import COMMAND_ADDRESS, COMMAND_MEMORY, SAMPLE_ADDRESS, map_of_role

BAUD: Final = 115200
POLLS: Final = 10_000
#: The first polls and samples fill what is allocated once.
FIRST_POLLS: Final = 100
_LOOKS: Final = 12  # at the heap, over more than one sample period
_LOOK_S: Final = 0.13
_LINE_S: Final = 10.0


class Request(NamedTuple):
    """A request for unit 1, and the length of its answer."""

    frame: bytes
    answer_length: int


class Memory(NamedTuple):
    """Bytes of the heap, as ``gc`` counts them after a collection."""

    used: float
    free: float


def _framed(payload: bytes) -> bytes:
    return payload + crc16(payload).to_bytes(2, "little")


def sample_request(role: str) -> Request:
    """Return the request for a role's sample frame."""
    words = map_of_role(role).words
    payload = bytes((1, 4)) + SAMPLE_ADDRESS.to_bytes(2) + words.to_bytes(2)
    return Request(_framed(payload), 5 + 2 * words)


def _memory_request() -> Request:
    payload = bytes((1, 6)) + COMMAND_ADDRESS.to_bytes(2) + COMMAND_MEMORY.to_bytes(2)
    return Request(_framed(payload), len(payload) + 2)


def bench_spec(name: str, role: str, **settings: int) -> NodeSpec:
    """Return a node with a fixed unique id and key that samples once a second."""
    return NodeSpec(
        name,
        role,
        bytes(range(12)).hex(),
        {"sample_period_ds": 10, **settings},
        key=bytes(32).hex(),
        baud=BAUD,
    )


async def memory(ask: Callable[[Request], Awaitable[object]], console: Console) -> Memory:
    """Return the heap between two samples: a sample under way holds its own coroutines.

    ``ask`` sends a request and waits for its answer; it may repeat it, as the command does no more
    when it comes twice.
    """
    request = _memory_request()
    held = []
    for _ in range(_LOOKS):
        await ask(request)
        fields = await console.wait_json("mem_free", _LINE_S)
        held.append(Memory(float(str(fields["mem_alloc"])), float(str(fields["mem_free"]))))
        await asyncio.sleep(_LOOK_S)
    return min(held)
