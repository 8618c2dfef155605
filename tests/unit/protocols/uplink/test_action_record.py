"""A record of kind 6: what the gateway or an operator did, as another encoder writes it."""

from typing import Any

import pytest

from protocols.uplink import ACTION, Action, FormatError, Stamp, action_record, decode_record
from protocols.wire.errors import LocalError

from .support import case_name, cases, stamp_of

STAMP = Stamp(7000, 7003, 1_765_432_100_123, 20, 3)


@pytest.mark.parametrize("case", cases("action", "action"), ids=case_name)
def test_the_vectors_are_written_and_read(case: dict[str, Any]) -> None:
    action = Action(case["action"], case["operator"], case["arg"], case["detail"])
    record = action_record(case["device_id"], action, stamp_of(case["stamp"]))
    assert record.data.hex() == case["hex"]
    assert (record.kind, record.readings, record.maps) == (ACTION, 0, 1)
    read = decode_record(bytes.fromhex(case["hex"]))
    assert (read.device_id, read.action, read.kind) == (case["device_id"], action, ACTION)
    assert read.stamp == stamp_of(case["stamp"])
    assert (read.values, read.events, read.gap, read.part, read.frame) == ((), (), None, None, None)


@pytest.mark.parametrize("case", cases("action", "refused"), ids=case_name)
def test_the_wrong_vectors_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(FormatError) as caught:
        decode_record(bytes.fromhex(case["hex"]))
    assert (caught.value.code, caught.value.offset) == (case["code"], case["offset"])


@pytest.mark.parametrize(
    "action",
    [
        Action("sneezed", "", 1, ""),
        Action("update-done", "x" * 65, 1, ""),
        Action("update-done", "", -1, ""),
        Action("update-done", "", 1 << 32, ""),
        Action("update-done", "", 1, "x" * 501),
    ],
)
def test_what_does_not_fit_is_not_written(action: Action) -> None:
    with pytest.raises(LocalError):
        action_record("gw-1", action, STAMP)
