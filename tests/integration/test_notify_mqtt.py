"""What a gateway announces over its uplink, before its batches: that it is there, its alarms."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from gateway_agent.config import MqttUplink
from gateway_agent.keys import generate_signing_key, load_private
from gateway_agent.uplink.connection import Who, make_client
from gateway_agent.uplink.topics import order_topic
from hil.site.mosquitto import MosquittoBroker
from protocols.uplink import OperatorOrder, key_id, open_batch, sign_order
from tests.integration.uplink_help import publish
from tests.promise.site import COMMAND, until
from tests.unit.gateway_agent.reload.reload_site import ReloadSite, SetClock
from tests.unit.gateway_agent.slave import TcpSlave
from tests.unit.gateway_agent.test_agent import answer, write_site

NOTIFY = """
[[notify]]
name = "console"
type = "mqtt"
severity = "warning"
[[alarm]]
name = "river-high"
when = "above"
device = "basin"
point = "level"
limit = 250
text = "call the bureau"
"""


class Listener:
    """Everything on the topics of a gateway that is no batch, in order."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, object]]] = []
        self.actions: list[str] = []  # in the batches
        self.batches = 0
        self.replies = 0

    def of(self, topic: str) -> list[dict[str, object]]:
        return [body for name, body in self.messages if name == f"tianfu/gw-1/{topic}"]

    async def run(self, port: int) -> None:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe("tianfu/gw-1/#", qos=1)
            async for message in client.messages:
                if "/batch/" in str(message.topic):
                    self.batches += 1
                    found = open_batch(bytes(message.payload), None).decode()
                    self.actions += [item.action.name for item in found if item.action is not None]
                elif "/reply/" in str(message.topic):
                    self.replies += 1
                elif "/order/" not in str(message.topic):
                    body = json.loads(message.payload) if message.payload else {}
                    self.messages.append((str(message.topic), body))


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[Listener]:
    found = Listener()
    task = asyncio.create_task(found.run(port))
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def gateway(path: Path, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    with (path.parent / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *words, "run", "--config", str(path), stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert "unaccounted for" not in (path.parent / "log").read_text()


@pytest.mark.mosquitto
async def test_status_will_and_alarms_are_on_their_topics(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    level = 10

    def reply(segment: bytes) -> list[tuple[float, bytes]]:
        (_, data), *_ = answer(segment)
        return [(0.0, data[:-2] + level.to_bytes(2, "big"))]

    slave = await TcpSlave(reply).start()
    path = write_site(tmp_path, slave.port, "puback")
    # A batch waits for 10 s to be full, but not if a change of an alarm is in it.
    text = path.read_text().replace("port = 1\n", f'port = {broker.port}\nlatency = "saving"\n')
    path.write_text(text + NOTIFY)
    async with listening(broker.port) as seen:
        async with gateway(path) as process:
            await until(lambda: seen.batches, "data flows")
            level = 300
            await until(lambda: seen.of("alarm-change"), "the alarm comes", 5)
            await until(lambda: "alarm-active" in seen.actions, "its record comes", 5)
            await until(lambda: seen.of("status")[-1].get("ready"), "data flows")
            process.kill()
            await until(lambda: seen.of("status")[-1]["state"] == "offline", "the will comes")
        assert seen.of("status")[0]["state"] == "online"
        assert seen.of("status")[-1]["reason"] == "connection lost"
        (change,) = seen.of("alarm-change")
        assert (change["alarm"], change["state"]) == ("river-high", "unacknowledged")
        assert (change["text"], change["before"]) == ("call the bureau", "normal")
        # The rule is there no more, so nobody may find its state on the broker.
        path.write_text(path.read_text().replace('"river-high"', '"river"'))
        async with gateway(path) as process:
            await until(lambda: seen.of("alarm/river"), "the other alarm comes")
            assert seen.of("alarm/river-high")[-1] == {}
            process.terminate()
            await process.wait()
        await until(lambda: seen.of("status")[-1]["state"] == "offline", "the goodbye comes")
        assert seen.of("status")[-1]["reason"] == "stopped"
    async with listening(broker.port) as later:
        await until(lambda: later.of("status") and later.of("alarm/river"), "what is retained")
        assert later.of("alarm/river-high") == []
        assert later.of("alarm-change") == []
    await slave.close()


@pytest.mark.mosquitto
async def test_announcements_and_orders_begin_and_end_with_a_reload(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """What they need of the uplink's connection, a will and a subscription, is there then too."""
    generate_signing_key(tmp_path / "ana.pem")
    plain = "[reload]\nprobation_s = 0\n"
    more = '[orders]\nkeys = ["ana.pem.pub"]\n[[notify]]\nname = "console"\ntype = "mqtt"\n'
    key = load_private(tmp_path / "ana.pem")
    topic = order_topic("gw-1", key_id(key.public_key()))

    async with ReloadSite(tmp_path).serving() as site, listening(broker.port) as seen:
        buses = ("a", (1,)), ("b", (1,))

        async def reload(tables: str) -> None:
            text = site.text(*buses, more=plain + tables)
            site.path.write_text(text.replace("port = 1\n", f"port = {broker.port}\n"))
            if site.agent is not None:
                assert not (await site.reloader.apply_file("root")).problems

        await reload("")
        async with site.running() as agent:
            await until(lambda: seen.batches, "data flows")
            assert seen.of("status") == []
            await reload(more)
            await until(lambda: seen.of("status"), "it is announced")
            assert seen.of("status")[-1]["state"] == "online"
            assert [one.where for one in agent.snapshot().notify] == [f"127.0.0.1:{broker.port}"]
            now_ms = SetClock().wall().wall_ms
            assert now_ms is not None
            order = OperatorOrder("gw-1", now_ms, now_ms + 600_000, "get", "absent")
            await publish(broker.port, topic, sign_order(order, key))
            await until(lambda: seen.replies, "the order is answered")
            connects = agent.snapshot().counters.connects
            await reload(
                more + '[[alarm]]\nname = "x"\nwhen = "silent"\ndevice = "a1"\nfor_s = 9\n'
            )
            assert agent.snapshot().counters.connects == connects, "the connection is as it was"
            await reload("")
            await until(lambda: seen.of("status")[-1]["state"] == "offline", "it says goodbye")
            before = seen.batches
            await until(lambda: seen.batches > before, "data flows on")


@pytest.mark.mosquitto
async def test_no_secret_is_in_the_log_however_much_is_logged(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """Of broker, webhook, mail server and metrics, also where each of them fails."""
    slave = await TcpSlave(answer).start()
    path = write_site(tmp_path, slave.port, "puback")
    files = {name: f"sesame-{name}" for name in ("login", "webhook", "mail", "otlp")}
    for name, secret in files.items():
        (tmp_path / name).write_text(f"X-Key: {secret}" if name == "otlp" else secret)
        (tmp_path / name).chmod(0o600)
    login = f'port = {broker.port}\nusername = "gw"\npassword_file = "login"\n'
    receivers = """
[[notify]]
name = "hook"
type = "webhook"
url = "http://127.0.0.1:1/hook?key=sesame-in-the-url"
secret_file = "webhook"
[[notify]]
name = "duty"
type = "mail"
host = "127.0.0.1"
port = 1
username = "gw"
password_file = "mail"
sender = "a@example.net"
to = ["b@example.net"]
[otlp]
url = "http://127.0.0.1:1/v1/metrics"
headers_file = "otlp"
"""
    path.write_text(path.read_text().replace("port = 1\n", login) + NOTIFY + receivers)
    async with listening(broker.port) as seen, gateway(path, "-vv"):
        await until(lambda: seen.of("alarm-change"), "the alarm comes")
        log = tmp_path / "log"
        for what in ("notify hook", "notify duty"):
            await until(lambda: what in log.read_text(), what)  # noqa: B023 - at once
    text = log.read_text()
    assert "DEBUG" in text
    private = (tmp_path / "gateway.pem").read_text().splitlines()[1]
    for secret in ("sesame", private):
        assert secret not in text
    await slave.close()


@pytest.mark.mosquitto
async def test_a_broker_that_refuses_announcements_gets_batches_all_the_same(
    mosquitto_path: Path, tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite tianfu/gw-1/batch/#\ntopic tianfu/gw-1/receipt/#\n")
    acl.chmod(0o600)
    slave = await TcpSlave(answer).start()
    with MosquittoBroker(mosquitto_path, tmp_path / "broker", f"acl_file {acl}\n") as broker:
        path = write_site(tmp_path, slave.port, "puback")
        path.write_text(path.read_text().replace("port = 1\n", f"port = {broker.port}\n") + NOTIFY)
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.subscribe("tianfu/gw-1/batch/#", qos=1)
            async with gateway(path):
                async with asyncio.timeout(20):
                    for _ in range(3):
                        message = await anext(aiter(client.messages))
                        assert "/batch/" in str(message.topic)
    text = (tmp_path / "log").read_text()
    assert text.count("the broker refused tianfu/gw-1/status") == 1, text
    await slave.close()


async def test_an_announcement_overtakes_batches_that_wait_for_a_slow_line() -> None:
    """Of 19 batches of 100 kB no more than the one under way is before it."""
    server = socket.create_server(("127.0.0.1", 0))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server.setblocking(False)
    loop = asyncio.get_running_loop()
    config = MqttUplink(host="127.0.0.1", port=server.getsockname()[1], version="3.1.1")
    client = make_client(config, Who("gw-1", ""), 16384, print)

    async def broker() -> socket.socket:
        peer, _ = await loop.sock_accept(server)
        peer.setblocking(False)
        await loop.sock_recv(peer, 1024)
        await loop.sock_sendall(peer, b"\x20\x02\x00\x00")
        return peer

    accepting = asyncio.create_task(broker())
    async with client:
        peer = await accepting
        batches = [client.post(f"batch/{number}", bytes(100_000)) for number in range(19)]
        packets = client._client._out_packet
        await until(lambda: packets and packets[0]["pos"], "the line is full")
        client.post_first("alarm", b"high", retain=True)
        data = b""
        while b"alarm" not in data:
            data += await loop.sock_recv(peer, 65536)
        before = data.index(b"alarm")
        assert before < 4 * 100_000, before
        assert data.count(b"batch/") < 5
        peer.close()
        server.close()
        await asyncio.wait(batches, timeout=5)
