"""A02YYUW against the example of its wiki."""

from __future__ import annotations

from hil.sim.a02yyuw import A02yyuw
from hil.sim.part import PartFault, Steady

from .wired import wired


async def test_a02yyuw_vector_1953_mm() -> None:
    part = A02yyuw(Steady(), period_s=0.01)
    with wired(part) as node:
        assert await node.take(12) == bytes.fromhex("ff07a1a7") * 3


async def test_a02yyuw_blind_zone() -> None:
    part = A02yyuw(Steady(), period_s=60)
    with wired(part) as node:
        await node.take(4)
        part.fault = PartFault.SATURATED
        part.tick()
        assert await node.take(4) == bytes.fromhex("ff001d1c")
