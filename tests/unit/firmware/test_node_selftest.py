"""The node's checks of itself: good memory, memory that keeps a bit, a role whose check breaks."""

import asyncio

from firmware.node.selftest import FAILED_ROLE, ROLE_SHIFT, core, ram_ok, role_mask
from tests.unit.firmware.node_fakes import Board, StubRole


class StuckBit:
    """Memory in which bit 3 of one byte always reads as 1."""

    def __init__(self) -> None:
        self._bytes = bytearray(1000)

    def __len__(self) -> int:
        return len(self._bytes)

    def __setitem__(self, index: int, value: int) -> None:
        self._bytes[index] = value | 0x08 if index == 300 else value

    def __getitem__(self, index: int) -> int:
        return self._bytes[index]


class BrokenRole(StubRole):
    """A role whose own check ends in an error."""

    async def selftest(self) -> int:
        raise ValueError("a bug of the role")


def test_a_good_node_fails_nothing() -> None:
    assert core() == 0
    assert ram_ok(bytearray(1000))


def test_a_stuck_bit_is_found() -> None:
    assert not ram_ok(StuckBit())  # type: ignore[arg-type]  # no bytearray keeps a bit


def test_the_roles_mask_stands_above_and_an_error_is_a_failure() -> None:
    role = StubRole(Board("nowhere"))
    role.failed = 0x1F5
    assert asyncio.run(role_mask(role)) == 0xF5 << ROLE_SHIFT
    assert asyncio.run(role_mask(BrokenRole(Board("nowhere")))) == FAILED_ROLE
