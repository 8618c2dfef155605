"""Boards, bus, gateway, broker and collector together, while each of them is taken away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from hil.site.stack import FullStack
from hil.testing.session import Session

pytestmark = pytest.mark.asyncio

#: What happens, and at which share of the run.
Step = tuple[float, Callable[[FullStack], Awaitable[None]]]


async def kill_broker(stack: FullStack) -> None:
    """Kill the broker, with everything it held."""
    await stack.broker.stop()


async def start_broker(stack: FullStack) -> None:
    """Start it again on its port, empty."""
    await stack.broker.start()


async def kill_gateway(stack: FullStack) -> None:
    """Kill the gateway in the middle of whatever it does; its supervisor starts it again."""
    await stack.gateway.kill()
    await stack.gateway.start()


async def set_clock_ahead(stack: FullStack) -> None:
    """Set the gateway's clock an hour ahead."""
    stack.gateway.step_clock(3600)


async def set_clock_back(stack: FullStack) -> None:
    """Set it an hour behind."""
    stack.gateway.step_clock(-3600)


async def set_clock_right(stack: FullStack) -> None:
    """Set it right."""
    stack.gateway.step_clock(0)


STEPS: tuple[Step, ...] = (
    (0.15, kill_broker),
    (0.25, set_clock_ahead),
    (0.35, start_broker),
    (0.50, kill_gateway),
    (0.60, set_clock_back),
    (0.70, kill_broker),
    (0.72, kill_gateway),
    (0.80, start_broker),
    (0.85, set_clock_right),
)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_every_record_is_delivered_and_verified_or_a_gap_is_explained(
    full_stack: FullStack, hil_session: Session
) -> None:
    """Run for five minutes, or as long as --hil-soak sets."""
    begun = time.monotonic()
    for share, step in STEPS:
        await asyncio.sleep(max(0.0, share * hil_session.soak_s - (time.monotonic() - begun)))
        await step(full_stack)
    await asyncio.sleep(max(0.0, hil_session.soak_s - (time.monotonic() - begun)))
    account = await full_stack.settle()
    assert account.problems() == []
    records = account.records
    assert records.recorded == records.delivered == records.verified > 0
    assert account.collector_count("readings_verified") > 0
    assert full_stack.gateway.starts == 3
