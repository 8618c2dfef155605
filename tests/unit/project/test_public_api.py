"""The names that other programs may import: a change here is a change for integrators.

Renaming or removing one needs an entry in CHANGELOG.md; then change the list, and renew docs/api.md
with ``python -m tests.tools.api_page --write``.
"""

import ast
import importlib
import subprocess
import sys
from typing import Final

import pytest

from tests.paths import ROOT
from tests.tools.api_page import FACES

PUBLIC: Final = {
    "protocols.identity": [
        "IDENTIFIER_RULE",
        "MAX_IDENTIFIER_LENGTH",
        "NODE_ID_RULE",
        "UID_BYTES",
        "UID_PATTERN",
        "UID_RULE",
        "USB_SERIAL_PATTERN",
        "is_identifier",
        "is_node_id",
        "node_id",
        "parse_uid",
        "uid_of",
        "usb_serial",
    ],
    "protocols.uplink": [
        "ACTION",
        "ACTIONS",
        "CAUSES",
        "CLOCK_HOLDOVER",
        "CLOCK_NAMES",
        "CLOCK_NONE",
        "CLOCK_SERVER",
        "CLOCK_SYNCHRONISED",
        "EVENTS",
        "FILE",
        "FILES",
        "GAP",
        "GENESIS",
        "HEAD_BYTES",
        "KIND_NAMES",
        "MAX_ACTION_DETAIL",
        "MAX_BATCH_BYTES",
        "MAX_DETAIL_LENGTH",
        "MAX_EARLIER",
        "MAX_FILE_BYTES",
        "MAX_GAP_NUMBER",
        "MAX_NUMBER",
        "MAX_OPERATOR_LENGTH",
        "MAX_ORDER_BYTES",
        "MAX_PART_BYTES",
        "MAX_RECEIPT_BYTES",
        "MAX_RECORD_BYTES",
        "MAX_REPLY_BYTES",
        "NO_VALUE",
        "POINT_BUSY",
        "PROFILE",
        "SAMPLE",
        "Action",
        "Anchor",
        "Batch",
        "BatchHeader",
        "DecimalFraction",
        "Decoded",
        "EarlierStream",
        "Failure",
        "FilePart",
        "Finding",
        "FormatError",
        "Gap",
        "Inspection",
        "KeyLookup",
        "LocalError",
        "MissingSamples",
        "NodeEvent",
        "NodeKeyLookup",
        "OperatorOrder",
        "OrderReply",
        "PeerError",
        "ProfileTemplate",
        "ProtocolError",
        "Receipt",
        "Record",
        "RecordPoint",
        "ReplyValue",
        "SampleAccount",
        "Stamp",
        "Value",
        "action_record",
        "build_batch",
        "check_proof",
        "decode_record",
        "event_record",
        "file_record",
        "fold",
        "gap_record",
        "key_id",
        "link",
        "open_batch",
        "open_order",
        "open_receipt",
        "open_reply",
        "order_key",
        "packed_text",
        "printable",
        "sample_record",
        "sign_order",
        "sign_receipt",
        "sign_reply",
    ],
    "protocols.uplink.sl651": [
        "BCD",
        "CHANGING_FUNCTIONS",
        "ELEMENTS",
        "FRAME_BYTES",
        "MAX_BODY_BYTES",
        "MAX_SERIES",
        "STATION_CLASSES",
        "Asked",
        "Confirmed",
        "Element",
        "ElementGroup",
        "NotConfirmed",
        "Observation",
        "PeriodQuestion",
        "Sl651Frame",
        "Sl651Reader",
        "Station",
        "StationCount",
        "StationEvent",
        "StationFunction",
        "StationParameter",
        "StationReport",
        "StationSettings",
        "Unreadable",
        "element_value",
        "encode_frame",
        "events_body",
        "number_group",
        "parameter",
        "parameters_body",
        "picture_body",
        "read_groups",
        "read_identifiers",
        "read_period_question",
        "read_report",
        "series_groups",
        "state_body",
        "version_body",
        "write_group",
        "write_report",
    ],
    "protocols.uplink.hj212": [
        "BEIJING",
        "COMMANDS",
        "DATA_FLAGS",
        "DAY_MS",
        "EXE_RETURNS",
        "HJ_VALUES",
        "HOUR_MS",
        "MAX_CP",
        "MAX_READ_SEGMENT",
        "MAX_SEGMENT",
        "MIN_INTERVALS_MIN",
        "OFFSET_MS",
        "QN_RETURNS",
        "RULES",
        "SYSTEMS",
        "AcceptedFrame",
        "Body",
        "ChecksumKind",
        "Cipher",
        "CommandName",
        "EmptySite",
        "FrameRefused",
        "Hj212Device",
        "Hj212Dialect",
        "Hj212Error",
        "Hj212Event",
        "Hj212Message",
        "Hj212Options",
        "Hj212Reader",
        "Hj212Settings",
        "Hj212Site",
        "Hj212Upload",
        "Item",
        "LinkGivenUp",
        "Moment",
        "NoticeUnanswered",
        "PlatformCommand",
        "QnForm",
        "RejectedFrame",
        "SettingsChanged",
        "Sm4Text",
        "UploadDone",
        "body_text",
        "checksum",
        "data_time",
        "flag_of",
        "hj_checksum",
        "parse_body",
        "parse_data_time",
        "request_number",
        "write_frame",
    ],
    "protocols.modbus_client": [
        "BIT_FUNCTIONS",
        "LATE",
        "MAX_READ_BITS",
        "READ_COILS",
        "READ_DISCRETE",
        "VARIABLE",
        "WRONG_ID",
        "AnswerShape",
        "AsciiClient",
        "Identification",
        "MbapClient",
        "ModbusClient",
        "Read",
        "Request",
        "RtuClient",
        "Unexpected",
        "WriteCounter",
        "decode_identification",
        "identify_request",
        "read_request",
        "select_request",
        "signed_write_request",
        "write_by_uid_request",
        "write_request",
    ],
    "gateway_agent": [
        "ConfigError",
        "Counters",
        "GatewayAgent",
        "GatewayConfig",
        "Status",
        "StatusError",
        "SystemClock",
        "load",
        "read_status",
    ],
    "gateway_agent.collector": [
        "BatchOutcome",
        "BatchReceiver",
        "CollectorConfig",
        "CollectorService",
        "Database",
        "load",
        "open_readonly",
        "read_figures",
    ],
    "boards.host": [
        "BoardError",
        "Image",
        "Provisioned",
        "Spec",
        "build",
        "load",
        "names",
        "provision",
    ],
    "hil": [
        "Bench",
        "Board",
        "Capability",
        "Engine",
        "HilError",
        "NodeSpec",
        "Place",
    ],
    "hil.bus": [
        "Burst",
        "DuplexLine",
        "Fault",
        "FaultApplied",
        "FaultKind",
        "Plan",
        "Rs485Line",
        "Trace",
        "Traffic",
    ],
}


@pytest.mark.parametrize("face", FACES)
def test_a_face_has_exactly_these_names(face: str) -> None:
    module = importlib.import_module(face)
    assert module.__all__ == PUBLIC[face]
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_the_product_itself_imports_the_uplink_through_its_face() -> None:
    deep = [
        f"{path.relative_to(ROOT)}: {node.module}"
        for package in ("boards", "gateway_agent", "hil")
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("protocols.uplink.")
        and node.module not in FACES
    ]
    assert deep == []


@pytest.mark.parametrize("face", ["gateway_agent", "gateway_agent.collector", "hil"])
def test_an_unknown_name_is_an_attribute_error(face: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{face}' has no attribute 'Nothing'"):
        _ = importlib.import_module(face).Nothing


@pytest.mark.parametrize("face", ["gateway_agent", "gateway_agent.collector", "hil", "protocols"])
def test_importing_a_face_loads_nothing_heavy(face: str) -> None:
    heavy = {"aiomqtt", "amqtt", "cryptography", "msgspec", "pymodbus", "typer", "zstandard"}
    code = f"import sys, {face}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
