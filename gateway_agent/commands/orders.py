"""Signed orders: proves who gave one, that it is meant for this gateway, now, and was not taken.

Orders come over MQTT from whoever may publish there, so an order that is not proved costs a bounded
queue, one check of a signature, and a record at most once a minute; all are counted. A proved order
gets a signed reply, and the same bytes once more get the same reply.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, NoReturn, Protocol, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.clock import GatewayClock
from gateway_agent.config_orders import OrdersConfig, operator_of
from gateway_agent.counters import Counters
from gateway_agent.keys import load_public
from gateway_agent.rare_log import REPEAT_S, RareLog
from protocols.text_of_others import printable
from protocols.uplink import (
    MAX_ACTION_DETAIL,
    MAX_OPERATOR_LENGTH,
    MAX_ORDER_BYTES,
    Action,
    OperatorOrder,
    OrderReply,
    PeerError,
    ReplyValue,
    key_id,
    open_order,
    order_key,
    sign_reply,
)

from .command import Command, CommandResult, RunCommand
from .counters import OrderCounters

log = logging.getLogger(__name__)

MAX_WAITING: Final = 8  # orders that were received and not looked at
MAX_REPLIES: Final = 16  # that wait for a connection; the oldest above are forgotten
AHEAD_MS: Final = 300_000  # of our clock, at most, an order may have been made
_MAX_TEXT: Final = 500

#: Carries out ``configure``: the text of a configuration, and who orders it.
Configure: TypeAlias = Callable[[str, str], Awaitable[CommandResult]]
NoteOrder: TypeAlias = Callable[[str, Action], None]


class Operator(NamedTuple):
    """An operator: the name for the stream, and the public key."""

    name: str
    key: Ed25519PublicKey


class Reply(NamedTuple):
    """A signed reply to an order of the key with this id."""

    kid: bytes
    data: bytes


class OrderRejected(Exception):
    """A message on the topic of orders that is not to be obeyed; the text gives the reason."""


class OrderInbox(Protocol):
    """What the uplink needs of the orders."""

    replies: "asyncio.Queue[Reply]"

    @property
    def is_open(self) -> bool:
        """Return whether orders are taken from anybody."""

    def take(self, payload: bytes) -> None:
        """Take a message from the topic of orders."""


async def no_configuration(text: str, by: str) -> CommandResult:
    """Refuse a configuration."""
    return CommandResult(outcome="refused", text="this agent was started without a file")


class OrderDesk:
    """The orders of one gateway; run :meth:`run` in a task. ``key`` signs replies."""

    def __init__(
        self,
        gateway: str,
        operators: Mapping[bytes, Operator],
        key: Ed25519PrivateKey,
        taken: OrderCounters,
        clock: GatewayClock,
        counters: Counters,
        run: RunCommand,
        note: NoteOrder,
        configure: Configure = no_configuration,
    ) -> None:
        self._operators = operators
        self.replies: asyncio.Queue[Reply] = asyncio.Queue(MAX_REPLIES)
        self._gateway = gateway
        self._key = key
        self._taken = taken
        self._clock = clock
        self._counters = counters
        self._run = run
        self._note = note
        self._configure = configure
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._answered: dict[bytes, tuple[bytes, Reply]] = {}  # by kid: the last order, by digest
        self._log = RareLog(log)
        self._noted_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """See OrderInbox."""
        return bool(self._operators)

    def change(self, operators: Mapping[bytes, Operator]) -> None:
        """Take orders of these from now on; one that is carried out now goes on."""
        self._operators = operators

    def take(self, payload: bytes) -> None:
        """Take a message from the topic of orders; :meth:`run` looks at it."""
        if len(payload) > MAX_ORDER_BYTES:
            self._reject(f"expected at most {MAX_ORDER_BYTES} bytes, got {len(payload)}")
            return
        try:
            self._waiting.put_nowait(payload)
        except asyncio.QueueFull:
            self._reject(f"{MAX_WAITING} orders wait already")

    async def run(self) -> NoReturn:
        """Look at orders, one after the other, until cancelled."""
        while True:
            raise_if_cancelled()
            payload = await self._waiting.get()
            try:
                reply = await self._obey(payload)
            except PeerError as error:
                self._reject(str(error))
                continue
            except OrderRejected as error:
                self._reject(str(error))
                continue
            if self.replies.full():
                self.replies.get_nowait()
            self.replies.put_nowait(reply)

    # --- inside ----------------------------------------------------------------------------------

    async def _obey(self, payload: bytes) -> Reply:
        """Return the reply to a proved order. PeerError, OrderRejected: it is not proved."""
        kid = order_key(payload)
        operator = self._operators.get(kid)
        if operator is None:
            raise OrderRejected(f"expected a key of [orders] keys, got key id {kid.hex()}")
        order = open_order(payload, operator.key)
        digest = hashlib.sha256(payload).digest()
        known = self._answered.get(kid)
        if known is not None and known[0] == digest:
            return known[1]
        try:
            self._check(order, kid)
            await asyncio.to_thread(self._taken.take, kid, order.counter)
        except OrderRejected as error:
            self._reject(f"{operator.name}: {error}")
            result = CommandResult(outcome="refused", text=str(error))
        except OSError as error:
            text = f"its counter cannot be made durable: {error}"
            self._reject(f"{operator.name}: {text}")
            result = CommandResult(outcome="refused", text=text)
        else:
            reply = self._signed(order, kid, await self._carried_out(order, operator))
            self._answered[kid] = digest, reply
            return reply
        return self._signed(order, kid, result)

    def _signed(self, order: OperatorOrder, kid: bytes, result: CommandResult) -> Reply:
        return Reply(kid, sign_reply(_reply(order, kid, self._gateway, result), self._key))

    def _check(self, order: OperatorOrder, kid: bytes) -> None:
        """Raise OrderRejected unless a proved order is for here and now, and new."""
        if order.gateway != self._gateway:
            raise OrderRejected(f"it is for {order.gateway}, this is {self._gateway}")
        now_ms = self._clock.wall().wall_ms
        if now_ms is None:
            raise OrderRejected("the gateway's clock is not synchronised, so no end can be judged")
        if now_ms > order.not_after_ms:
            late = (now_ms - order.not_after_ms) / 1000
            raise OrderRejected(f"it ended {late:.0f} s ago: make a new one")
        if order.counter > now_ms + AHEAD_MS:
            ahead = (order.counter - now_ms) / 1000
            raise OrderRejected(f"it was made {ahead:.0f} s ahead of this clock: set yours")
        last = self._taken.last(kid, now_ms)
        if order.counter <= last:
            raise OrderRejected(
                f"its counter {order.counter} is not above {last}: it was taken already, or is"
                " older than one that was; the stream shows what came of it"
            )

    async def _carried_out(self, order: OperatorOrder, operator: Operator) -> CommandResult:
        by = f"{operator.name}, order {order.counter}"[:MAX_OPERATOR_LENGTH]
        if order.action == "configure":
            try:
                result = await self._configure(order.text, by)
            except PeerError as error:
                result = CommandResult(outcome="refused", text=str(error))
            detail = printable(f"configure: {result.text}")[:MAX_ACTION_DETAIL]
            self._note(self._gateway, Action(f"command-{result.outcome}", by, 0, detail))
            return result
        command = msgspec.convert(
            {
                "action": order.action,
                "device": order.device,
                "point": order.point,
                "value": order.value,
                "confirm": bool(order.confirm),
            },
            Command,
        )
        return await self._run(command, by)

    def _reject(self, why: str) -> None:
        """Count, log and record what is not obeyed; log and record at most once a minute."""
        why = printable(why)
        self._counters.orders_rejected += 1
        self._log.warning(f"order rejected: {why}")
        now_ms = self._clock.boot_ms()
        if self._noted_ms is None or now_ms - self._noted_ms >= REPEAT_S * 1000:
            self._noted_ms = now_ms
            count = self._counters.orders_rejected
            detail = f"{count} since the start: {why}"[:MAX_ACTION_DETAIL]
            self._note(self._gateway, Action("order-rejected", "", count & 0xFFFFFFFF, detail))


def operators_of(config: OrdersConfig | None) -> dict[bytes, Operator]:
    """Return the operators by the id of their key. KeyFileError: a key cannot be used."""
    files = () if config is None else config.keys
    found = [Operator(operator_of(file), load_public(file)) for file in files]
    return {key_id(operator.key): operator for operator in found}


def _reply(order: OperatorOrder, kid: bytes, gateway: str, result: CommandResult) -> OrderReply:
    values = tuple(
        ReplyValue(
            one.name, one.unit, (one.text if one.value is None else f"{one.value:.12g}")[:64]
        )
        for one in result.values
    )
    text = printable(result.text)[:_MAX_TEXT]
    return OrderReply(gateway, kid, order.counter, result.outcome, text, values)
