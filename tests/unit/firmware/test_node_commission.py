"""What a board was commissioned as: good texts are read, wrong ones are refused with the field."""

from firmware.node.commission import NAME, CommissionError, parse, read
from tests.dual import raises
from tests.unit.firmware.node_fakes import MemoryStore


def test_a_whole_commission() -> None:
    commission = parse(
        b'{"role": "air", "uid": "000102030405060708090a0b", "settings": {"unit_id": 2}}'
    )
    assert commission.role == "air"
    assert commission.uid == bytes(range(12))
    assert commission.settings == {"unit_id": 2}


def test_the_least_that_will_do() -> None:
    for text in (b'{"role": "camera"}', b'{"role": "camera", "uid": null}'):
        commission = parse(text)
        assert commission.uid is None
        assert commission.settings == {}


def test_what_is_wrong_is_named() -> None:
    for text, expected in (
        (b"", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[]", "expected a JSON object, got []"),
        (b"{}", "role: expected one of air, water, camera, got None"),
        (b'{"role": "fire"}', "role: expected one of air, water, camera, got 'fire'"),
        (b'{"role": "air", "rolle": 1}', "rolle: expected one of role, uid, settings, got 'rolle'"),
        (b'{"role": "air", "uid": "00"}', "uid: expected 24 hex digits, got '00'"),
        (b'{"role": "air", "uid": "zz0102030405060708090a0b"}', "uid: expected 24 hex digits"),
        (b'{"role": "air", "settings": 1}', "settings: expected an object"),
        (
            b'{"role": "air", "settings": {"x": 1}}',
            "settings: expected a name of docs/registers.md, got 'x'",
        ),
        (
            b'{"role": "air", "settings": {"unit_id": 0}}',
            "settings.unit_id: expected 1 to 247, got 0",
        ),
        (b'{"role": "air", "settings": {"unit_id": "1"}}', "settings.unit_id: expected 1 to 247"),
        (b'{"role": "air", "settings": {"unit_id": 248}}', "settings.unit_id: expected 1 to 247"),
    ):
        error = raises(CommissionError, parse, text)
        assert expected in str(error), (text, str(error))


def test_every_problem_has_its_line() -> None:
    error = raises(CommissionError, parse, b'{"role": "fire", "settings": {"unit_id": 300}}')
    assert str(error).split("\n") == [
        "role: expected one of air, water, camera, got 'fire'",
        "settings.unit_id: expected 1 to 247, got 300",
    ]


def test_the_store_is_named() -> None:
    store = MemoryStore()
    assert (
        str(raises(CommissionError, read, store))
        == "no record 'board' in memory: provision this board"
    )
    store.files[NAME] = b"{"
    assert str(raises(CommissionError, read, store)) == "record 'board' in memory: is no JSON"
    store.files[NAME] = b'{"role": "air"}'
    assert read(store).role == "air"
