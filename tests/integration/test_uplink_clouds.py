"""Log-ins of clouds as a broker gets them: checked there, renewed in time, silent in logs."""

import base64
import hashlib
import hmac
import json
import logging
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_agent.config_types import MqttConnection
from gateway_agent.uplink.cloud_login import (
    AliyunAccount,
    AnyCloudAccount,
    HuaweiAccount,
    OneNetAccount,
    TencentAccount,
)
from gateway_agent.uplink.mqtt_json.config import JsonUplink
from hil.site.mosquitto import MosquittoBroker
from tests.integration.cloud_broker import Login, answering, front_door
from tests.unit.gateway_agent.exporters.export_world import exporting, hole, sample, until, writer
from tests.unit.gateway_agent.store_help import WALL_MS, StillClock

SECRET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
RAW = b"0123456789abcdef0123456789abcdef"
NEVER = float("inf")


def secret_file(root: Path) -> Path:
    path = root / "device.secret"
    path.touch(0o600)
    path.write_text(SECRET + "\n", "utf-8")
    return path


def uplink(port: int, account: AnyCloudAccount, name: str | None = None) -> JsonUplink:
    assert isinstance(account, AliyunAccount | HuaweiAccount | OneNetAccount | TencentAccount)
    broker = MqttConnection(host="127.0.0.1", port=port, version="3.1.1")
    return JsonUplink(name=name, broker=broker, latency_ms=0, format="thing", login=account)


def mac(key: bytes, text: str, digest: str = "sha256") -> bytes:
    return hmac.digest(key, text.encode(), digest)


# --- what each cloud checks, by its own page --------------------------------------------------


def admits_aliyun(login: Login) -> float | None:
    identity, _, options = login.client_id.partition("|")
    named = dict(part.split("=") for part in options.rstrip("|").split(","))
    device, _, product = login.username.partition("&")
    text = f"clientId{identity}deviceName{device}productKey{product}"
    if "timestamp" in named:
        text += f"timestamp{named['timestamp']}"
    is_good = mac(SECRET.encode(), text).hex() == login.password and named["securemode"] == "3"
    # No will, no retained will, no will with QoS 2; keep-alive 30 to 1200 s.
    return NEVER if is_good and not login.flags & 0x3C and 30 <= login.keepalive_s <= 1200 else None


def admits_huawei(login: Login) -> float | None:
    device, kind, _, hour = login.client_id.rsplit("_", 3)
    is_good = mac(hour.encode(), SECRET).hex() == login.password
    return NEVER if is_good and (device, kind) == (login.username, "0") else None


def admits_onenet(now_s: Callable[[], float]) -> Callable[[Login], float | None]:
    def admits(login: Login) -> float | None:
        token = dict(urllib.parse.parse_qsl(login.password))
        end_s = int(token["et"])
        text = f"{end_s}\n{token['method']}\n{token['res']}\n2018-10-31"
        sign = base64.b64encode(mac(RAW, text, token["method"])).decode()
        resource = f"products/{login.username}/devices/{login.client_id}"
        is_good = sign == token["sign"] and token["res"] == resource
        return float(end_s) if is_good and now_s() < end_s else None

    return admits


def admits_tencent(now_s: Callable[[], float]) -> Callable[[Login], float | None]:
    def admits(login: Login) -> float | None:
        client_id, app, connection, end = login.username.split(";")
        is_good = login.password == mac(RAW, login.username).hex() + ";hmacsha256"
        is_good = is_good and (client_id, app) == (login.client_id, "12010126") and bool(connection)
        return float(end) if is_good and now_s() < int(end) else None

    return admits


# --- the shapes that arrive -------------------------------------------------------------------


async def test_each_cloud_lets_us_in_and_gets_properties(tmp_path: Path) -> None:
    clock, secret = StillClock(), secret_file(tmp_path)

    def now_s() -> float:
        return WALL_MS / 1000

    accounts: dict[str, tuple[AnyCloudAccount, Callable[[Login], float | None]]] = {
        "aliyun": (
            AliyunAccount(product_key="a1T", device_name="gw1", secret_file=secret),
            admits_aliyun,
        ),
        "huawei": (HuaweiAccount(device_id="p_gw1", secret_file=secret), admits_huawei),
        "onenet": (
            OneNetAccount(product_id="P1", device_name="gw1", secret_file=secret),
            admits_onenet(now_s),
        ),
        "tencent": (
            TencentAccount(product_id="P1", device_name="gw1", secret_file=secret),
            admits_tencent(now_s),
        ),
    }
    got: dict[str, list[tuple[str, object]]] = {}
    for kind, (account, admits) in accounts.items():
        root = tmp_path / kind
        root.mkdir()
        async with front_door(admits, now_s) as cloud, writer(root, clock) as outbox:
            cloud.platform = answering(lambda _: 0)
            await outbox.put([sample(1), hole(2)], {})
            async with exporting(outbox, root, uplink(cloud.port, account), clock=clock):
                await until(lambda: len(cloud.messages) == 2)
            assert not cloud.refused
            got[kind] = [(topic, json.loads(payload)) for topic, payload in cloud.messages]
    time_ms = WALL_MS + 1000
    timed = {
        "hall_co2": {"value": 1, "time": time_ms},
        "hall_temperature": {"value": 0.1, "time": time_ms},
    }
    assert got["aliyun"][0] == (
        "/sys/a1T/gw1/thing/event/property/post",
        {
            "id": "1",
            "version": "1.0",
            "sys": {"ack": 1},
            "params": timed,
            "method": "thing.event.property.post",
        },
    )
    assert got["onenet"][0] == (
        "$sys/P1/gw1/thing/property/post",
        {"id": "1", "version": "1.0", "params": timed},
    )
    assert got["tencent"][0] == (
        "$thing/up/property/P1/gw1",
        {
            "method": "report",
            "clientToken": "1",
            "timestamp": time_ms,
            "params": {"hall_co2": 1, "hall_temperature": 0.1},
        },
    )
    # 1 760 000 001 s is 2025-10-09 08:53:21 UTC.
    service = {"service_id": "hall", "properties": {"co2": 1, "temperature": 0.1}}
    assert got["huawei"][0] == (
        "$oc/devices/p_gw1/sys/properties/report",
        {"services": [{**service, "event_time": "20251009T085321Z"}]},
    )
    assert '"bus_timeout"' in json.dumps(got["aliyun"][1][1])
    assert all("bus_timeout" in json.dumps(messages[1][1]) for messages in got.values())


async def test_a_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    """The clock runs three lives of a token; no record is lost, no session is cut."""
    clock = StillClock()
    start = clock.now

    def now_s() -> float:
        return (WALL_MS + clock.now - start) / 1000

    account = OneNetAccount(
        product_id="P1", device_name="gw1", secret_file=secret_file(tmp_path), lifetime_s=600
    )
    async with (
        front_door(admits_onenet(now_s), now_s) as cloud,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(cloud.port, account), clock=clock) as exporters,
    ):
        cloud.platform = answering(lambda _: 200)
        for count in range(1, 91):
            await outbox.put([sample(count)], {})
            await until(lambda: exporters.tasks and exporters.tasks[0].feed.delivered_to == count)  # noqa: B023 # in its own turn
            clock.now += 20_000
            clock.wall_ms = WALL_MS + clock.now - start
    sent = [json.loads(payload)["id"] for _, payload in cloud.messages]
    assert sent == [str(seq) for seq in range(1, 91)]
    assert (cloud.refused, cloud.cut) == ([], 0)
    assert 3 <= len(cloud.logins) <= 4
    assert len({login.password for login in cloud.logins}) == len(cloud.logins)
    assert cloud.goodbyes == len(cloud.logins)


async def test_without_a_time_a_token_waits_and_the_others_do_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, secret = StillClock(wall_ms=None), secret_file(tmp_path)
    token = TencentAccount(product_id="P1", device_name="gw1", secret_file=secret)
    plain = AliyunAccount(product_key="a1T", device_name="gw1", secret_file=secret)

    def now_s() -> float:
        return WALL_MS / 1000

    with caplog.at_level(logging.DEBUG):
        async with (
            front_door(admits_tencent(now_s), now_s) as tencent,
            front_door(admits_aliyun, now_s) as aliyun,
            writer(tmp_path, clock) as outbox,
        ):
            configs = uplink(tencent.port, token), uplink(aliyun.port, plain, "aliyun")
            async with exporting(outbox, tmp_path, *configs, clock=clock) as exporters:
                await until(
                    lambda: aliyun.logins and "no clock" in exporters.tasks[0].feed.status.problem
                )
                assert "timestamp" not in aliyun.logins[0].client_id
                assert not tencent.logins
                clock.wall_ms = WALL_MS
                await until(lambda: tencent.logins)
                assert not tencent.refused
                await outbox.put([sample(1)], {})
                await until(lambda: tencent.messages and aliyun.messages)
        secrets = [SECRET, *(login.password for login in tencent.logins + aliyun.logins)]
        texts = [record.getMessage() for record in caplog.records]
        assert texts
        assert not [text for text in texts for secret_text in secrets if secret_text in text]


async def test_a_post_that_the_cloud_does_not_take_is_named_as_lost(tmp_path: Path) -> None:
    clock = StillClock()
    account = AliyunAccount(product_key="a", device_name="g", secret_file=secret_file(tmp_path))
    async with (
        front_door(admits_aliyun, lambda: 0) as cloud,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(cloud.port, account), clock=clock) as exporters,
    ):
        cloud.platform = answering(lambda identifier: 6813 if identifier in "35" else 200)
        await outbox.put([sample(number) for number in range(1, 7)], {})
        await until(lambda: exporters.tasks and exporters.tasks[0].feed.behind == 0)
        assert cloud.filters == ["/sys/a/g/thing/event/property/post_reply"]
        (status,) = exporters.status(outbox)
        assert [(one.first, one.last, one.cause) for one in status.losses] == [
            (3, 3, "refused"),
            (5, 5, "refused"),
        ]
        assert (status.rejected, len(cloud.messages)) == (2, 6)
        assert "6813" in status.rejection


async def test_what_the_cloud_has_not_answered_is_not_delivered(tmp_path: Path) -> None:
    clock, secret = StillClock(), secret_file(tmp_path)
    asked = AliyunAccount(product_key="a", device_name="g", secret_file=secret)
    silent = AliyunAccount(product_key="b", device_name="g", secret_file=secret, confirmed=False)
    async with (
        front_door(admits_aliyun, lambda: 0) as cloud,
        front_door(admits_aliyun, lambda: 0) as mute,
        writer(tmp_path, clock) as outbox,
    ):
        configs = uplink(cloud.port, asked), uplink(mute.port, silent, "silent")
        async with exporting(outbox, tmp_path, *configs, clock=clock) as exporters:
            await outbox.put([sample(1)], {})
            await until(lambda: cloud.messages and exporters.tasks[1].feed.delivered_to == 1)
            assert exporters.tasks[0].feed.delivered_to == 0
            for identifier in ("7", "1"):
                answer = json.dumps({"id": identifier, "code": 200}).encode()
                cloud.send("/sys/a/g/thing/event/property/post_reply", answer)
            await until(lambda: exporters.tasks[0].feed.delivered_to == 1)


@pytest.mark.mosquitto
async def test_a_real_broker_checks_the_password(mosquitto_path: Path, tmp_path: Path) -> None:
    clock = StillClock()
    text = f"clientIda1T.gw1deviceNamegw1productKeya1Ttimestamp{WALL_MS}"
    password, salt = mac(SECRET.encode(), text).hex(), b"salt-of-12-b"
    digest = hashlib.sha512(password.encode() + salt).digest()
    stored = f"$6${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    passwords.write_text(f"gw1&a1T:{stored}\n", "utf-8")
    extra = f"password_file {passwords}\nallow_anonymous false\n"
    account = AliyunAccount(
        product_key="a1T", device_name="gw1", secret_file=secret_file(tmp_path), confirmed=False
    )
    with MosquittoBroker(mosquitto_path, tmp_path / "broker", extra) as broker:
        async with (
            writer(tmp_path, clock) as outbox,
            exporting(outbox, tmp_path, uplink(broker.port, account), clock=clock) as exporters,
        ):
            await outbox.put([sample(1)], {})
            await until(lambda: exporters.tasks and exporters.tasks[0].feed.delivered_to == 1)
            clock.wall_ms = WALL_MS + 1  # another password, which this broker does not have
            broker.kill()
            broker.start()
            await until(lambda: "not authorised" in broker.log)
        assert "a1T.gw1|securemode=3" in broker.log
