"""The formats between gateway and collector: records, batches, receipts, and how to verify them.

This is the face for integrators: what is named here stays. A collector opens batches and signs
receipts, a gateway does the reverse; an archive can be checked with the public keys alone::

    batch = open_batch(data, lambda gateway, kid: known_keys.get((gateway, kid)))
    for record in batch.decode():
        print(record.device_id, record.stamp.wall_ms, record.values)

CPython only; ``protocols.wire`` is the half that runs on nodes too.
"""

from protocols.text_of_others import printable
from protocols.wire.errors import LocalError, PeerError, ProtocolError

from .account import MissingSamples, SampleAccount
from .batch import MAX_BATCH_BYTES, MAX_EARLIER, Batch, build_batch, open_batch
from .batch_header import Anchor, BatchHeader, EarlierStream
from .chain import GENESIS, HEAD_BYTES, fold, link
from .checks import MAX_NUMBER
from .cose import KeyLookup, key_id
from .errors import FormatError
from .fast_points import ProfileTemplate
from .inspect import Finding, Inspection
from .order import (
    MAX_ORDER_BYTES,
    MAX_REPLY_BYTES,
    OperatorOrder,
    OrderReply,
    ReplyValue,
    open_order,
    open_reply,
    order_key,
    packed_text,
    sign_order,
    sign_reply,
)
from .proof import NodeKeyLookup, check_proof
from .receipt import MAX_RECEIPT_BYTES, Receipt, open_receipt, sign_receipt
from .record_read import decode_record
from .record_types import (
    ACTION,
    ACTIONS,
    CAUSES,
    CLOCK_HOLDOVER,
    CLOCK_NAMES,
    CLOCK_NONE,
    CLOCK_SERVER,
    CLOCK_SYNCHRONISED,
    EVENTS,
    FILE,
    FILES,
    GAP,
    KIND_NAMES,
    MAX_ACTION_DETAIL,
    MAX_DETAIL_LENGTH,
    MAX_FILE_BYTES,
    MAX_GAP_NUMBER,
    MAX_OPERATOR_LENGTH,
    MAX_PART_BYTES,
    MAX_RECORD_BYTES,
    NO_VALUE,
    POINT_BUSY,
    PROFILE,
    SAMPLE,
    Action,
    DecimalFraction,
    Decoded,
    Failure,
    FilePart,
    Gap,
    NodeEvent,
    Record,
    RecordPoint,
    Stamp,
    Value,
)
from .record_write import (
    action_record,
    event_name,
    event_record,
    file_record,
    gap_record,
    sample_record,
)

__all__ = [
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
    "event_name",
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
]
