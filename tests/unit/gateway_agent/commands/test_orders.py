"""Orders: one that is proved, new and in time is done once; any other costs next to nothing."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway_agent.commands import counters as order_counters
from gateway_agent.commands.command import Command, CommandResult
from gateway_agent.commands.counters import FILE_NAME, OrderCounters
from gateway_agent.commands.orders import MAX_WAITING, Operator, OrderDesk
from gateway_agent.counters import Counters
from gateway_agent.status import PointValue
from protocols.uplink import (
    MAX_ORDER_BYTES,
    Action,
    OperatorOrder,
    OrderReply,
    key_id,
    open_reply,
    packed_text,
    sign_order,
)
from protocols.uplink.cbor import encode
from protocols.uplink.cose import CONTENT_TYPE, sign1
from protocols.uplink.order import ORDER_TYPE
from tests.unit.gateway_agent.store_help import GATEWAY, WALL_MS, StillClock

ANA, MALLORY, OWN = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
KID = key_id(ANA.public_key())
OPERATORS = {KID: Operator("ana", ANA.public_key())}
SET = OperatorOrder(GATEWAY, WALL_MS + 10, WALL_MS + 60_000, "set", "air-1", "sample_period", "5 s")


class Site:
    """An order desk whose commands are kept, and what it noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: list[tuple[Command, str]] = []
        self.configured: list[tuple[str, str]] = []
        self.noted: list[Action] = []
        self.counters = Counters()
        self.clock = StillClock()
        self.desk = self.new_desk()

    def new_desk(self) -> OrderDesk:
        """A desk as a new process has it."""
        taken = OrderCounters(self.folder, self.clock)
        return OrderDesk(
            GATEWAY, OPERATORS, OWN, taken, self.clock, self.counters, self.run,
            lambda _, action: self.noted.append(action), self.configure,
        )  # fmt: skip

    async def run(self, command: Command, by: str) -> CommandResult:
        # It is durable before it acts: what a kill here leaves on the medium.
        kept = (self.folder / FILE_NAME).read_text()
        assert by.rpartition(" ")[2] in kept
        self.done.append((command, by))
        values = [PointValue("sample_period", "s", 5.0)]
        return CommandResult(outcome="done", text="2 s -> 5 s", values=values)

    async def configure(self, text: str, by: str) -> CommandResult:
        self.configured.append((text, by))
        return CommandResult(outcome="done", text="the probation has begun")

    async def reply(self, data: bytes) -> OrderReply:
        self.desk.take(data)
        async with asyncio.timeout(5):
            reply = await self.desk.replies.get()
        assert reply.kid == KID
        return open_reply(reply.data, OWN.public_key())

    async def ignored(self, data: bytes) -> None:
        """Give a message that gets no reply."""
        before = self.counters.orders_rejected
        self.desk.take(data)
        async with asyncio.timeout(5):
            while self.counters.orders_rejected == before:
                await asyncio.sleep(0)
        assert self.desk.replies.empty()


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    found = Site(folder)
    async with running(found):
        yield found


@asynccontextmanager
async def running(found: Site) -> AsyncIterator[None]:
    task = asyncio.create_task(found.desk.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_order_is_done_once_and_the_reply_is_signed(tmp_path: Path) -> None:
    data = sign_order(SET, ANA)
    async with site(tmp_path) as one:
        reply = await one.reply(data)
        assert (reply.outcome, reply.text, reply.counter) == ("done", "2 s -> 5 s", SET.counter)
        assert reply.values == (("sample_period", "s", "5"),)
        assert await one.reply(data) == reply  # MQTT delivers at least once
        command = Command(action="set", device="air-1", point="sample_period", value="5 s")
        assert one.done == [(command, f"ana, order {SET.counter}")]
        assert one.noted == []  # the desk of commands notes it
        later = replace(SET, counter=SET.counter + 1, action="configure", file=packed_text("a=1"))
        assert (await one.reply(sign_order(later, ANA))).outcome == "done"
        assert one.configured == [("a=1", f"ana, order {later.counter}")]
        assert [(action.name, action.operator) for action in one.noted] == [
            ("command-done", f"ana, order {later.counter}")
        ]
        # It took a while to come.
        one.clock.now, one.clock.wall_ms = 21_000, WALL_MS + 20_000
        slow = replace(SET, counter=WALL_MS + 2000)
        assert (await one.reply(sign_order(slow, ANA))).outcome == "done"
    # Another process has only the file.
    one.desk = one.new_desk()
    async with running(one):
        for replayed in (SET, later, slow):
            reply = await one.reply(sign_order(replayed, ANA))
            assert reply.outcome == "refused"
            assert f"not above {slow.counter}: it was taken already" in reply.text
    assert (len(one.done), len(one.configured)) == (2, 1)


async def test_the_first_order_of_a_gateway_may_be_a_while_on_its_way(tmp_path: Path) -> None:
    async with site(tmp_path) as one:
        one.clock.now, one.clock.wall_ms = 21_000, WALL_MS + 20_000
        assert (await one.reply(sign_order(SET, ANA))).outcome == "done"


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (replace(SET, gateway="gw-2"), "it is for gw-2, this is gw-1"),
        (replace(SET, counter=WALL_MS - 100, not_after_ms=WALL_MS - 2000 + 1999), "ended 0 s ago"),
        (replace(SET, counter=WALL_MS - 90_000, not_after_ms=WALL_MS - 30_000), "ended 30 s ago"),
        (replace(SET, counter=WALL_MS), "is not above"),  # of before the first start: nobody knows
        (
            replace(SET, counter=WALL_MS + 400_000, not_after_ms=WALL_MS + 500_000),
            "400 s ahead of this clock",
        ),
        (replace(SET, action="configure", file=b"\x28\xb5\x2f\xfd garbage"), "zstd"),
        (replace(SET, action="configure", file=packed_text("x" * (1 << 21))), "1048576"),
    ],
)
async def test_a_proved_order_that_is_not_for_here_and_now_is_refused(
    tmp_path: Path, order: OperatorOrder, why: str
) -> None:
    async with site(tmp_path) as one:
        reply = await one.reply(sign_order(order, ANA))
        assert reply.outcome == "refused"
        assert why in reply.text
        assert not one.done
        assert not one.configured
        # And what comes next is done.
        good = replace(SET, counter=WALL_MS + 20_000)
        assert (await one.reply(sign_order(good, ANA))).outcome == "done"


async def test_without_a_clock_that_is_vouched_for_nothing_is_done(tmp_path: Path) -> None:
    async with site(tmp_path) as one:
        one.clock.wall_ms = None
        reply = await one.reply(sign_order(SET, ANA))
        assert "the gateway's clock is not synchronised" in reply.text
        one.clock.wall_ms = WALL_MS
        assert (await one.reply(sign_order(SET, ANA))).outcome == "done"


def hostile() -> list[bytes]:
    """Messages that nobody proved: each way of being wrong, and a few hundred random changes."""
    good = sign_order(SET, ANA)

    def signed(payload: object, kind: str = ORDER_TYPE) -> bytes:
        return sign1({CONTENT_TYPE: kind, KID_LABEL: KID}, encode(payload), ANA)

    fields: list[object] = [
        GATEWAY,
        WALL_MS + 10,
        WALL_MS + 60_000,
        "set",
        "air-1",
        "x",
        "1",
        0,
        None,
    ]
    wrong = [
        b"",
        b"\xd2",
        b"{}",
        good + b"\0",
        b"x" * (MAX_ORDER_BYTES + 1),
        b"\xd2\x84" + b"\x9b" + b"\xff" * 8,  # a length that nobody has
        sign_order(SET, MALLORY),
        signed(fields, "application/vnd.tianfu.receipt+cbor"),
        signed(fields[:-1]),
        signed({"gateway": GATEWAY}),
        signed([*fields[:3], "erase", *fields[4:]]),
        signed([*fields[:1], "1", *fields[2:]]),
        signed([*fields[:1], -1, *fields[2:]]),
        signed([*fields[:2], WALL_MS + 86_400_011, *fields[3:]]),  # too long a life
        signed([*fields[:4], "d" * 129, *fields[5:]]),
        signed([*fields[:7], 2, None]),
        signed([*fields[:8], b"file"]),  # of a command that has none
        signed([*fields[:3], "configure", *fields[4:]]),  # of one that needs one
    ]
    wrong += [good[:cut] for cut in range(0, len(good), 7)]
    chance = random.Random(5)
    for _ in range(200):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        wrong.append(bytes(data))
    return wrong


KID_LABEL = 4


async def test_whatever_is_not_proved_is_counted_and_costs_one_record(tmp_path: Path) -> None:
    messages = hostile()
    async with site(tmp_path) as one:
        for message in messages:
            await one.ignored(message)
        assert one.counters.orders_rejected == len(messages)
        assert [action.name for action in one.noted] == ["order-rejected"]
        one.clock.now += 60_000
        await one.ignored(b"")
        assert [action.name for action in one.noted] == ["order-rejected"] * 2
        assert one.noted[1].detail.startswith(f"{len(messages) + 1} since the start: ")
        assert not one.done
        assert not (tmp_path / FILE_NAME).exists()
        assert (await one.reply(sign_order(SET, ANA))).outcome == "done"


async def test_a_flood_waits_in_a_bounded_queue(tmp_path: Path) -> None:
    one = Site(tmp_path)  # nothing looks at them
    for number in range(100):
        one.desk.take(sign_order(replace(SET, counter=SET.counter + number), ANA))
    assert one.counters.orders_rejected == 100 - MAX_WAITING
    async with running(one):
        async with asyncio.timeout(5):
            while len(one.done) < MAX_WAITING:
                await asyncio.sleep(0)


async def test_a_counter_that_cannot_be_made_durable_acts_not(tmp_path: Path) -> None:
    async with site(tmp_path) as one:
        one.desk._taken = OrderCounters(tmp_path / "no-such-directory", one.clock)
        reply = await one.reply(sign_order(SET, ANA))
        assert reply.outcome == "refused"
        assert "cannot be made durable" in reply.text
        assert not one.done


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"since": -1, "last": {}}', b'{"\xff": 1}', b"\xff" * 100]
)
async def test_a_damaged_file_of_counters_refuses_what_is_older(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    async with site(tmp_path) as one:
        one.clock.wall_ms = SET.counter + 1000  # as it was at the start
        assert "it was taken already" in (await one.reply(sign_order(SET, ANA))).text
        new = replace(SET, counter=SET.counter + 2000)
        assert (await one.reply(sign_order(new, ANA))).outcome == "done"


def test_the_file_of_counters_stays_small_and_forgets_no_key_downwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_counters, "MAX_KEYS", 4)
    taken = OrderCounters(tmp_path, StillClock())
    for number in range(7):
        kid = number.to_bytes(8, "big")
        assert taken.last(kid, 500) == (500 if number < 5 else 1000 + number - 5)
        taken.take(kid, 1000 + number)
    again = OrderCounters(tmp_path, StillClock())
    assert again.last((6).to_bytes(8, "big"), 0) == 1006
    assert again.last((0).to_bytes(8, "big"), 0) == 1002  # not 500, nor less than it had
