"""The operator's end of orders: makes one, sends it over MQTT, and waits for the signed reply."""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Final, NoReturn

import aiomqtt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from gateway_agent.cancellation import raise_if_cancelled, until_first_ends
from gateway_agent.config_types import KeyFile, MqttConnection, Name, PublicKeyFile
from gateway_agent.errors import OperatorError
from gateway_agent.keys import load_private, load_public
from gateway_agent.status import PointValue
from gateway_agent.tables import TableReader, read_toml
from gateway_agent.uplink import topics
from gateway_agent.uplink.connection import Client, Who, make_client
from protocols.uplink import (
    LocalError,
    OperatorOrder,
    OrderReply,
    PeerError,
    key_id,
    open_order,
    open_reply,
    packed_text,
    sign_order,
)

from .command import Command, CommandResult

AGAIN_S: Final = 5.0  # until an order without a reply is sent again: a gateway takes it once
MAX_PACKET: Final = 32 * 1024


class OperatorFile(Struct, frozen=True, kw_only=True):
    """An operator's own file: which gateway, by which broker, with which key.

    ``gateway_key`` is the public key of the gateway, which proves its replies.
    """

    gateway: Name
    gateway_key: PublicKeyFile
    key: KeyFile
    broker: MqttConnection


def load_operator(path: Path) -> OperatorFile:
    """Read an operator's file. ConfigError with every problem found."""
    reader = TableReader(path)
    return reader.result(reader.build(OperatorFile, read_toml(path), ""))


def make_order(operator: OperatorFile, wanted: Command | str, life_s: float) -> bytes:
    """Return a signed order: a command, or the text of a configuration. KeyFileError."""
    key = load_private(operator.key)
    now_ms = time.time_ns() // 1_000_000
    end_ms = now_ms + round(life_s * 1000)
    if isinstance(wanted, str):
        file = packed_text(wanted)
        order = OperatorOrder(operator.gateway, now_ms, end_ms, "configure", file=file)
    else:
        order = OperatorOrder(
            operator.gateway,
            now_ms,
            end_ms,
            wanted.action,
            wanted.device,
            wanted.point,
            wanted.value,
            int(wanted.confirm),
        )
    try:
        return sign_order(order, key)
    except LocalError as error:
        raise OperatorError(f"this does not fit an order: {error}") from error


async def deliver(operator: OperatorFile, data: bytes, wait_s: float) -> CommandResult:
    """Send an order until its reply is there. OperatorError: none came, or no broker."""
    key = load_private(operator.key).public_key()
    gateway_key = load_public(operator.gateway_key)
    try:
        order = open_order(data, key)
    except PeerError as error:
        raise OperatorError(f"this is no order of {operator.key}: {error}") from error
    kid = key_id(key)
    who = Who(f"tianfu-order-{secrets.token_hex(4)}", "is the client id in use")
    client = make_client(operator.broker, who, MAX_PACKET, lambda _: None)
    found: list[OrderReply] = []

    async def receive() -> None:
        async for message in client.messages:
            client.taken(message)
            reply = _reply_to(order, bytes(message.payload or b""), kid, gateway_key)
            if reply is not None:
                found.append(reply)
                return

    try:
        async with asyncio.timeout(wait_s), client:
            await client.listen(topics.reply_topic(operator.gateway, kid))
            await until_first_ends(receive(), _send(client, operator.gateway, kid, data))
    except TimeoutError:
        raise OperatorError(
            f"no reply of {operator.gateway} within {wait_s:g} s: the order may be done. Write one"
            " to a file with --out and send that again: a gateway takes an order once"
        ) from None
    except aiomqtt.MqttError as error:
        raise OperatorError(f"{operator.broker.where}: {client.ending(error).text}") from error
    if not found:
        raise OperatorError(f"{operator.broker.where} has ended the connection")
    return _result(found[0])


async def _send(client: Client, gateway: str, kid: bytes, data: bytes) -> NoReturn:
    topic = topics.order_topic(gateway, kid)
    while True:
        raise_if_cancelled()
        client.post(topic, data)
        await asyncio.sleep(AGAIN_S)


def _reply_to(
    order: OperatorOrder, payload: bytes, kid: bytes, gateway_key: Ed25519PublicKey
) -> OrderReply | None:
    """Return the gateway's reply to this order; None: it is no such reply, whoever sent it."""
    try:
        reply = open_reply(payload, gateway_key)
    except PeerError:
        return None
    meant = (reply.gateway, reply.kid, reply.counter)
    return reply if meant == (order.gateway, kid, order.counter) else None


def _result(reply: OrderReply) -> CommandResult:
    found = {"outcome": reply.outcome, "text": reply.text}
    result = msgspec.convert(found, CommandResult)
    return msgspec.structs.replace(result, values=[_value(*one) for one in reply.values])


def _value(name: str, unit: str, text: str) -> PointValue:
    try:
        return PointValue(name, unit, float(text))
    except ValueError:
        return PointValue(name, unit, None, text)
