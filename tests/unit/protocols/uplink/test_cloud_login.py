"""What MQTT clouds check at a log-in, against their own published values and openssl's."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from protocols.uplink import clouds
from tests.paths import ROOT

MAKERS: dict[str, Callable[..., clouds.Credentials | str]] = {
    "aliyun": clouds.aliyun,
    "huawei": clouds.huawei,
    "onenet": clouds.onenet,
    "onenet_token": clouds.onenet_token,
    "tencent": clouds.tencent,
}
VECTORS = ROOT / "protocols" / "vectors" / "cloud_login.json"
CASES: dict[str, Any] = json.loads(VECTORS.read_text("utf-8"))
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def test_every_cloud_has_vectors() -> None:
    assert CASES.keys() - {"source"} == MAKERS.keys()


@pytest.mark.parametrize(
    ("kind", "case"), [(kind, case) for kind in MAKERS for case in CASES[kind]]
)
def test_a_log_in_is_what_the_cloud_computes(kind: str, case: dict[str, Any]) -> None:
    given = {name: value for name, value in case.items() if name not in ("source", "expected")}
    made = MAKERS[kind](**given)
    if isinstance(made, str):
        assert made == case["expected"]
        return
    assert list(made[:3]) == case["expected"]
    lifetime_s = case.get("lifetime_s")
    ends = None if lifetime_s is None else 1000 * 1_900_000_000
    assert made.end_ms == ends


@pytest.mark.parametrize("kind", ["onenet", "tencent"])
def test_a_password_with_an_end_needs_a_time(kind: str) -> None:
    more = {"connection": "A1B2C"} if kind == "tencent" else {}
    with pytest.raises(clouds.NoTimeForLoginError, match="no clock vouches for a time"):
        MAKERS[kind]("P1", "gw1", KEY, now_ms=None, lifetime_s=600, **more)


def test_a_key_that_is_no_base64_is_named_without_being_shown() -> None:
    with pytest.raises(ValueError, match="in base64") as caught:
        clouds.onenet("P1", "gw1", "not*base64", now_ms=0, lifetime_s=600)
    assert "not*base64" not in str(caught.value)
