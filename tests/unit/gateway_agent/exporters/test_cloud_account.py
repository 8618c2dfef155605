"""The table ``[uplink.login]``: its keys, when a password is renewed, who may read the secret."""

from pathlib import Path

import pytest

from gateway_agent.clock import Wall
from gateway_agent.config import load
from gateway_agent.tables import ConfigError
from gateway_agent.uplink.cloud_login import AliyunAccount, OneNetAccount, TencentAccount, sign_in
from gateway_agent.uplink.mqtt_json.config import JsonUplink
from protocols.uplink.clouds import NoTimeForLoginError
from tests.docs.test_integrators import COLLECTOR, SITE
from tests.unit.gateway_agent.store_help import WALL_MS, StillClock

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
HEAD = """
[[uplink]]
type = "mqtt-json"
"""
BROKER = """
[uplink.broker]
host = "cloud.example.net"
"""
LOGIN = """
[uplink.login]
kind = "onenet"
product_id = "P1"
device_name = "gw1"
secret_file = "device.secret"
"""


def problems(directory: Path, *parts: str) -> str:
    path = directory / "gateway.toml"
    path.write_text(SITE + COLLECTOR + "".join(parts), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


def test_the_secret_is_found_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(SITE + COLLECTOR + HEAD + 'format = "thing"\n' + BROKER + LOGIN, "utf-8")
    (exporter,) = load(path).exporters
    assert isinstance(exporter, JsonUplink)
    assert isinstance(exporter.login, OneNetAccount)
    assert exporter.secret_files == [tmp_path / "device.secret"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((HEAD, 'format = "thing"', BROKER), "expected a cloud to post to"),
        ((HEAD, "retain = true", BROKER, LOGIN), "these clouds keep no message"),
        ((HEAD, 'client_id = "x"', BROKER, LOGIN), "client_id: expected none, because the log-in"),
        ((HEAD, BROKER, 'username = "x"', LOGIN), "broker.username: expected none"),
        ((HEAD, BROKER, LOGIN, "lifetime_s = 60"), "expected seconds from 600 to 31536000"),
        ((HEAD, BROKER, LOGIN.replace("onenet", "other")), '"aliyun", "huawei", "onenet"'),
        ((HEAD, BROKER, LOGIN.replace('"gw1"', '"gw 1"')), "as the cloud shows it"),
        ((HEAD, BROKER, LOGIN.replace('"onenet"', '"aliyun"')), "product_key"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, parts: tuple[str, ...], words: str) -> None:
    assert words in problems(tmp_path, *parts)


def secret(directory: Path, text: str = KEY, mode: int = 0o600) -> Path:
    path = directory / "device.secret"
    path.touch(mode)
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def test_a_password_is_renewed_by_boot_time_with_the_clocks_doubt_taken_off(tmp_path: Path) -> None:
    account = OneNetAccount(product_id="P", device_name="d", secret_file=secret(tmp_path))
    clock = StillClock()  # 5 ms of doubt
    signed = sign_in(account, clock, is_secure=True)
    life_ms = 86_400_000 - WALL_MS % 1000
    # A tenth to spare, the doubt, and what a crystal may go wrong by 100 ppm in that time.
    assert signed.renew_at_ms == clock.now + life_ms - life_ms // 10 - 5 - -(-life_ms // 10_000)


def test_a_clock_in_doubt_for_longer_than_a_password_holds_is_none(tmp_path: Path) -> None:
    class Doubtful(StillClock):
        def wall(self) -> Wall:
            return super().wall()._replace(unc_ms=700_000)

    account = TencentAccount(
        product_id="P", device_name="d", secret_file=secret(tmp_path), lifetime_s=600
    )
    with pytest.raises(NoTimeForLoginError, match="known to 700 s only"):
        sign_in(account, Doubtful(), is_secure=True)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [(KEY, 0o644, "chmod 600"), ("", 0o600, "got 0 bytes"), ("k" * 2000, 0o600, "got 1025 bytes")],
)
def test_a_secret_that_others_read_or_that_is_none_is_refused(
    tmp_path: Path, text: str, mode: int, words: str
) -> None:
    path = secret(tmp_path, text, mode)
    account = AliyunAccount(product_key="a", device_name="d", secret_file=path)
    with pytest.raises(ValueError, match=words):
        sign_in(account, StillClock(), is_secure=False)
