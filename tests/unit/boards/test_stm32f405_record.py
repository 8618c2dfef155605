"""The commissioning record of an STM32F405 board. Runs on both runtimes."""

from boards.stm32f405.record import RecordError, parse
from tests.dual import raises


def test_a_whole_record() -> None:
    record = parse(
        b'{"role": "air", "uid": "000102030405060708090a0b", "settings": {"unit_id": 2}}'
    )
    assert record.role == "air"
    assert record.uid == bytes(range(12))
    assert record.settings == {"unit_id": 2}


def test_the_least_that_will_do() -> None:
    record = parse(b'{"role": "camera"}')
    assert record.uid is None
    assert record.settings == {}


def test_what_is_wrong_is_named() -> None:
    for text, expected in (
        (b"", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[]", "record: expected an object, got []"),
        (b'{"role": "fire"}', "role: expected one of air, water, camera, got 'fire'"),
        (b'{"role": "air", "rolle": 1}', "record: expected keys of role, uid, settings, got"),
        (b'{"role": "air", "uid": "00"}', "uid: expected 24 hex digits, got '00'"),
        (b'{"role": "air", "uid": "zz0102030405060708090a0b"}', "uid: expected 24 hex digits"),
        (b'{"role": "air", "settings": 1}', "settings: expected an object"),
        (b'{"role": "air", "settings": {"x": 1}}', "settings: expected names of docs/registers.md"),
        (b'{"role": "air", "settings": {"unit_id": 0}}', "settings.unit_id: expected 1 to 247"),
    ):
        error = raises(RecordError, parse, text)
        assert expected in str(error), (text, str(error))
