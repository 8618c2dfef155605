"""What an operator could write so that the polls of a bus fit: longer periods, or a faster line."""

from collections.abc import Iterator
from typing import Final

import msgspec

from gateway_agent.config import SerialBus

from .planner import BUSY, BusPlan, poll_ms

# What converters and devices commonly offer.
_BAUDRATES: Final = (9600, 19_200, 38_400, 57_600, 115_200)
# Periods that people write; a longer one becomes whole minutes.
_PERIODS_MS: Final = (100, 200, 250, 500, 1000, 2000, 2500, 5000, 10_000, 15_000, 30_000)
_MINUTE_MS: Final = 60_000


def proposals(plan: BusPlan) -> tuple[str, ...]:
    """Return what makes the polls fit, each with the share of the bus it leads to.

    Nothing where they fit already with room for retries and probes.
    """
    if plan.share <= BUSY:
        return ()
    return (_longer_periods(plan), *_faster_line(plan))


def _longer_periods(plan: BusPlan) -> str:
    by_period: dict[int, float] = {}
    for item in plan.devices:
        by_period[item.device.period_ms] = by_period.get(item.device.period_ms, 0.0) + item.share
    new = {period: _round_up(period * plan.share / BUSY) for period in by_period}
    share = sum(own * period / new[period] for period, own in by_period.items())
    text = ", ".join(f"{new[period]} instead of {period}" for period in sorted(by_period))
    return f"period_ms = {text}: {share:.0%} of the bus's time"


def _faster_line(plan: BusPlan) -> Iterator[str]:
    bus = plan.bus
    if not isinstance(bus, SerialBus):
        return
    for baudrate in _BAUDRATES:
        faster = msgspec.structs.replace(bus, baudrate=baudrate)
        share = sum(
            item.share * poll_ms(faster, item.device, item.reads) / item.poll_ms
            for item in plan.devices
        )
        if baudrate > bus.baudrate and share <= BUSY:
            yield f"baudrate = {baudrate}, if every device can: {share:.0%} of the bus's time"
            return


def _round_up(period_ms: float) -> int:
    minutes = -int(-period_ms // _MINUTE_MS)
    return next((nice for nice in _PERIODS_MS if nice >= period_ms), minutes * _MINUTE_MS)
