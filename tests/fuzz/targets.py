"""The readers of what others send or write, one function each: any other error is a finding.

The first byte of an input chooses between ways to read the rest, where there are several.
"""

import contextlib
import tomllib
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway_agent.config import parse
from gateway_agent.tables import ConfigError
from gateway_agent.uplink.hj212.profile import Hj212ProfileError, read_hj212_profile
from protocols.export_message import MqttCore
from protocols.export_record import DeviceInfo
from protocols.text_of_others import printable
from protocols.uplink import clouds, homeassistant, influxdb, sparkplug, thingsboard
from protocols.uplink.errors import FormatError
from protocols.uplink.sl427 import Sl427Frame, Sl427Reader, encode_sl427, read_number
from protocols.uplink.sl651 import (
    Sl651Frame,
    Sl651Reader,
    Station,
    StationSettings,
    element_value,
    encode_frame,
    read_identifiers,
    read_period_question,
    read_report,
)
from tests.unit.protocols.link.fuzz import one_input as link
from tests.unit.protocols.uplink.hj212.fuzz import one_input as hj212

_WHEN: Final = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
_DEVICE: Final = DeviceInfo("gw.hall", "hall", "roof", "air", 1000)
_DEVICES: Final = {_DEVICE.id: _DEVICE}


def _may_be_shown(error: Exception, most: int = 1000) -> None:
    """An error becomes a line of a log or of a status."""
    text = str(error)
    lines = text.replace("\n", "")
    assert printable(lines) == lines
    assert len(text) <= most


def _frames(reader: Sl651Reader | Sl427Reader, data: bytes, size: int) -> list[object]:
    """Feed pieces of a size; each turn of the reader uses bytes up."""
    found: list[object] = []
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
        for _ in range(len(data) + 2):
            try:
                frame = reader.next_frame()
            except FormatError as error:
                _may_be_shown(error)
                continue
            if frame is None:
                break
            found.append(frame)
        else:
            raise AssertionError("the reader went round without using bytes up")
    return found


def sl651(data: bytes) -> None:
    """Frames whole and cut, the reports and questions in them, and a station that hears them."""
    if not data:
        return
    size, stream = 1 + data[0] % 40, data[1:]
    whole = _frames(Sl651Reader(), stream, max(1, len(stream)))
    cut = _frames(Sl651Reader(), stream, size)
    assert whole == cut
    for frame in whole:
        assert isinstance(frame, Sl651Frame)
        _body(frame.body)
        with contextlib.suppress(ValueError):  # what the writer does not allow
            (again,) = _frames(Sl651Reader(), encode_frame(frame), 10_000)
            assert again == frame
    _body(stream)
    station = bytes.fromhex("0012345678")
    settings = StationSettings(1, station, answer_ms=1000, keep_alive_ms=60_000)
    device = Station(settings, 1, 0)
    device.send(0x32, b"\x00" * 20, _WHEN, 0)
    for at in range(0, len(stream), size):
        device.receive(stream[at : at + size], at)
        device.tick(at)
        assert len(device.outgoing()) < 1 << 20


def _body(body: bytes) -> None:
    for is_series in (False, True):
        with contextlib.suppress(FormatError):
            for observation in read_report(body, is_series).observations:
                for group in observation.groups:
                    with contextlib.suppress(FormatError):
                        element_value(group)
    for question in (read_identifiers, read_period_question):
        with contextlib.suppress(FormatError):
            question(body)


def sl427(data: bytes) -> None:
    """Frames whole and cut, and the numbers in them."""
    if not data:
        return
    whole = _frames(Sl427Reader(), data[1:], 10_000)
    assert whole == _frames(Sl427Reader(), data[1:], 1 + data[0] % 40)
    for frame in whole:
        assert isinstance(frame, Sl427Frame)
        with contextlib.suppress(FormatError):
            read_number(frame)
        (again,) = _frames(Sl427Reader(), encode_sl427(frame), 10_000)
        assert again == frame


def _received(core: MqttCore, topic: str, payload: bytes) -> None:
    """A message is answered in few bytes, or refused in a text that may be shown."""
    try:
        answers = core.received(topic, payload)
    except ValueError as error:
        _may_be_shown(error, 2000)
    else:
        assert sum(len(answer.payload) for answer in answers) < 20_000
        assert sum(len(message.payload) for message in core.due(1_700_000_000_000)) < 20_000


def sparkplug_command(data: bytes) -> None:
    """Commands to an edge node."""
    core = sparkplug.SparkplugCore("g", "e", _DEVICES)
    core.opened(1_700_000_000_000)
    _received(core, "spBv1.0/g/NCMD/e", data)


def thingsboard_rpc(data: bytes) -> None:
    """Calls of ThingsBoard, where they are refused and where they are passed on."""
    taken: list[thingsboard.RpcCommand] = []

    def take(command: thingsboard.RpcCommand) -> bool:
        taken.append(command)
        return len(taken) % 2 == 1

    _received(thingsboard.ThingsBoardCore("gw", _DEVICES), thingsboard.RPC, data)
    _received(thingsboard.ThingsBoardCore("gw", _DEVICES, take), thingsboard.RPC, data)
    for command in taken:
        texts = (command.method, command.name, command.value)
        assert all(len(text) <= thingsboard.MAX_RPC_TEXT for text in texts)
        assert command.device == "hall"
        command.answer({"done": "x"})


def cloud_answers(data: bytes) -> None:
    """Answers of clouds, and what comes on Home Assistant's topic."""
    for kind in ("aliyun", "onenet", "tencent"):
        _received(clouds.CloudCore(clouds.Cloud(kind, "post", "answers")), "answers", data)
    _received(homeassistant.HomeAssistantCore("gw", _DEVICES, "ha", "1"), "ha/status", data)


def influxdb_answer(data: bytes) -> None:
    """Bodies of answers to writes."""
    status = 200 + 3 * data[0] if data else 204
    assert influxdb.verdict_of(status) in ("delivered", "refused", "too-large", "later")
    reason = influxdb.reason_of(status, data[1:])
    assert printable(reason) == reason
    assert len(reason) < 400


_GATEWAY: Final = """
[gateway]
id = "gw"
state_dir = "state"
key = "gw.pem"
[[bus]]
name = "a"
type = "tcp"
host = "h"
[[bus.device]]
name = "hall"
unit = 1
kind = "profile"
profile = "senseair-s8"
[[uplink]]
type = "mqtt"
host = "h"
collector_key = "c.pub"
"""
_PLACE: Final = Path("/nonexistent/gateway.toml")


def exporters(data: bytes) -> None:
    """The tables of exporters in a configuration; its files are never there."""
    try:
        tables = tomllib.loads(_GATEWAY + data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return  # read_toml reports these
    try:
        config = parse(tables, _PLACE)
    except ConfigError as error:
        _may_be_shown(error, 1 << 20)
        return
    for exporter in config.exporters:
        assert exporter.where
        list(exporter.secret_files)


def hj212_profile(data: bytes) -> None:
    """Profiles of platforms of HJ 212, which operators write."""
    with contextlib.suppress(Hj212ProfileError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an odd pattern for the MN
        profile = read_hj212_profile("profile", data)
        for code in profile.codes:
            profile.code(code)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "link": link,
    "hj212": hj212,
    "sl651": sl651,
    "sl427": sl427,
    "sparkplug": sparkplug_command,
    "thingsboard": thingsboard_rpc,
    "clouds": cloud_answers,
    "influxdb": influxdb_answer,
    "exporters": exporters,
    "hj212-profile": hj212_profile,
}
