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


async def broker_goes(stack: FullStack) -> None:
    """The broker is gone, with everything it held."""
    await stack.broker.stop()


async def broker_comes(stack: FullStack) -> None:
    """It comes back on its port, empty."""
    await stack.broker.start()


async def gateway_dies(stack: FullStack) -> None:
    """kill -9 in the middle of whatever it does; its supervisor starts it again."""
    await stack.gateway.kill()
    await stack.gateway.start()


async def clock_ahead(stack: FullStack) -> None:
    """Somebody sets the gateway's clock an hour ahead ..."""
    stack.gateway.step_clock(3600)


async def clock_back(stack: FullStack) -> None:
    """... and two hours back."""
    stack.gateway.step_clock(-3600)


async def clock_right(stack: FullStack) -> None:
    """It is right again."""
    stack.gateway.step_clock(0)


STEPS: tuple[Step, ...] = (
    (0.15, broker_goes),
    (0.25, clock_ahead),
    (0.35, broker_comes),
    (0.50, gateway_dies),
    (0.60, clock_back),
    (0.70, broker_goes),
    (0.72, gateway_dies),
    (0.80, broker_comes),
    (0.85, clock_right),
)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_every_record_is_delivered_and_verified_or_a_gap_is_explained(
    full_stack: FullStack, hil_session: Session
) -> None:
    """Five minutes, unless --hil-soak says otherwise."""
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
