"""The writer refuses what the standard or the platform's dialect does not allow."""

from dataclasses import replace

import pytest

from protocols.uplink.hj212 import (
    MAX_CP,
    Hj212Dialect,
    Hj212Message,
    QnForm,
    body_text,
    flag_of,
    parse_body,
    write_frame,
)
from protocols.wire.errors import LocalError

MESSAGE = Hj212Message(
    "22",
    "2011",
    "123456",
    "010000A8900016F000169DC0",
    parse_body(
        "DataTime=20260301080000;a34004-Rtd=18,a34004-Flag=N;a34002-Rtd=35,a34002-Flag=N;"
        "a01001-Rtd=12.5,a01001-Flag=N"
    ),
    "20260301080000123",
    5,
)


def test_a_frame_made_elsewhere_comes_out() -> None:
    assert write_frame(MESSAGE, Hj212Dialect()) == (
        b"##0196QN=20260301080000123;ST=22;CN=2011;PW=123456;MN=010000A8900016F000169DC0;Flag=5;"
        b"CP=&&DataTime=20260301080000;a34004-Rtd=18,a34004-Flag=N;a34002-Rtd=35,a34002-Flag=N;"
        b"a01001-Rtd=12.5,a01001-Flag=N&&6600\r\n"
    )


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"qn": "2026030108000012"}, "QN"),
        ({"qn": None}, "QN"),
        ({"st": "2"}, "ST"),
        ({"cn": "201"}, "CN"),
        ({"pw": "1234567"}, "PW"),
        ({"mn": "A" * 25}, "MN"),
        ({"mn": "A;B"}, "MN"),
        ({"flag": 256}, "Flag"),
        ({"flag": 7}, "Flag"),
        ({"pnum": 2, "pno": 1}, "Flag"),
        ({"flag": 7, "pnum": 2, "pno": 3}, "PNUM"),
        ({"body": ((("a-Rtd", "1;2"),),)}, "CP"),
        ({"body": ((("a-Rtd", "1&&"),),)}, "CP"),
        ({"body": ((("a Rtd", "1"),),)}, "CP"),
        ({"body": ((),)}, "CP"),
        ({"body": ((("i11001-Info", "//a//b//"),),)}, "CP"),
        ({"body": ((("i11001-Info", "//a\r\n//"),),)}, "CP"),
        ({"body": ((("a-Rtd", "1"),),) * 200}, "CP"),
    ],
)
def test_what_is_not_allowed_is_refused(changed: dict[str, object], field: str) -> None:
    with pytest.raises(LocalError, match=rf"^{field}: "):
        write_frame(replace(MESSAGE, **changed), Hj212Dialect())  # type: ignore[arg-type] # the table


def test_text_that_the_encoding_lacks_is_refused() -> None:
    message = replace(MESSAGE, body=parse_body("i11001-Info=//\u20ac\U0001f600//"))
    with pytest.raises(LocalError, match=r"^text: "):
        write_frame(message, Hj212Dialect(encoding="gbk"))


def test_a_cipher_that_changes_the_length_is_refused() -> None:
    with pytest.raises(LocalError, match="length"):
        write_frame(MESSAGE, Hj212Dialect(), lambda text: text + b"x")


def test_flag_is_version_split_and_ack() -> None:
    made = [flag_of(v, a, d) for v in (0, 1, 2) for d in (False, True) for a in (False, True)]
    assert made == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]


def test_back_fill_stands_before_cp() -> None:
    frame = write_frame(replace(MESSAGE, flag=9, is_backfill=True), Hj212Dialect(terminator=b""))
    assert b";Flag=9;RF=1;CP=&&" in frame
    assert not frame.endswith(b"\r\n")


def test_the_largest_text_fits() -> None:
    longest = "//" + "x" * 880 + "//"
    message = replace(MESSAGE, body=parse_body(f"i11001-Info={longest}"))
    assert len(body_text(message.body)) <= MAX_CP
    assert write_frame(message, Hj212Dialect()).startswith(b"##09")


def test_a_text_between_slashes_may_hold_signs() -> None:
    body = parse_body("DataTime=20260301080000;i11001-Info=//a=1,b;c//,x-Flag=N;y=2")
    assert body[1] == (("i11001-Info", "//a=1,b;c//"), ("x-Flag", "N"))
    assert body_text(body).endswith("i11001-Info=//a=1,b;c//,x-Flag=N;y=2")


def test_other_forms_of_the_request_number() -> None:
    unix = replace(MESSAGE, qn="1617936069734")
    assert b"##0192QN=1617936069734;" in write_frame(unix, Hj212Dialect(qn=QnForm.UNIX_MS))
    assert write_frame(replace(MESSAGE, qn=None), Hj212Dialect(qn=QnForm.ABSENT))[6:9] == b"ST="
