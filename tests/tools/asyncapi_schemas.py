"""What the payloads on each MQTT topic look like, as JSON Schema; docs/asyncapi.yaml has them.

The examples beside them in that file are made by the code, and are checked against these.
"""

from typing import Final, TypeAlias

import msgspec

Schema: TypeAlias = dict[str, object]


def an_object(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """Return the schema of an object that has these names and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    }


def a_map(of: Schema) -> Schema:
    """Return the schema of an object whose names are those of points or devices."""
    return {"type": "object", "additionalProperties": of}


def a_list(of: Schema) -> Schema:
    """Return the schema of a list with at least one element."""
    return {"type": "array", "items": of, "minItems": 1}


def of_struct(struct: type[msgspec.Struct]) -> Schema:
    """Return the schema of a message that is a struct in the code."""
    (_,), parts = msgspec.json.schema_components((struct,))
    made: Schema = parts[struct.__name__]
    return made


TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
TIME_MS: Final[Schema] = {"type": "integer", "description": "Unix time in ms"}
VALUE: Final[Schema] = {"type": ["number", "string"], "description": "a text is the cause of a gap"}
#: Binary payloads; their bytes are described in docs/formats.md.
BINARY: Final[Schema] = {"type": "string", "format": "binary"}

JSON: Final = an_object(
    {
        "gateway": TEXT,
        "device": TEXT,
        "time_ms": TIME_MS,
        "uncertainty_ms": COUNT,
        "stream": COUNT,
        "seq": COUNT,
    },
    {
        "values": a_map(NUMBER),
        "units": {**a_map(TEXT), "description": "SenML units of the values"},
        "quality": {**a_map(TEXT), "description": "why a point has no value"},
        "gap": {"type": "string", "description": "the cause of a gap, in the place of values"},
    },
)
SENML: Final = a_list(
    an_object({"n": TEXT}, {"bn": TEXT, "bt": NUMBER, "u": TEXT, "v": NUMBER, "vs": TEXT})
)
_TIMED: Final = a_map(an_object({"value": VALUE, "time": TIME_MS}))
_ID: Final[Schema] = {"type": "string", "description": "the record's number, modulo 2^32"}
ALIYUN: Final = an_object(
    {
        "id": _ID,
        "version": {"const": "1.0"},
        "sys": an_object({"ack": {"const": 1}}),
        "params": _TIMED,
        "method": {"const": "thing.event.property.post"},
    }
)
ONENET: Final = an_object({"id": _ID, "version": {"const": "1.0"}, "params": _TIMED})
TENCENT: Final = an_object(
    {
        "method": {"const": "report"},
        "clientToken": _ID,
        "timestamp": TIME_MS,
        "params": a_map(VALUE),
    }
)
HUAWEI: Final = an_object(
    {
        "services": a_list(
            an_object(
                {
                    "service_id": TEXT,
                    "properties": a_map(VALUE),
                    "event_time": {"type": "string", "pattern": "^\\d{8}T\\d{6}Z$"},
                }
            )
        )
    }
)
CLOUD_ANSWER: Final[Schema] = {
    "type": "object",
    "required": ["code"],
    "properties": {"code": {"type": "integer", "description": "0 or 200: it was taken"}},
}
CONNECT: Final = an_object({"device": TEXT, "type": TEXT})
ATTRIBUTES: Final = a_map(an_object({"gateway": TEXT, "id": TEXT, "bus": TEXT, "role": TEXT}))
TELEMETRY: Final = a_map(a_list(an_object({"ts": TIME_MS, "values": a_map(VALUE)})))
RPC: Final[Schema] = {
    "type": "object",
    "required": ["device"],
    "properties": {
        "device": TEXT,
        "id": {"type": "integer", "description": "in our answers"},
        "data": {"type": "object", "description": "id, method, params; in answers the result"},
    },
}
_SENSOR: Final = an_object(
    {
        "p": {"const": "sensor"},
        "name": TEXT,
        "unique_id": TEXT,
        "value_template": TEXT,
        "state_class": {"enum": ["measurement", "total"]},
        "expire_after": COUNT,
    },
    {"unit_of_measurement": TEXT, "device_class": TEXT},
)
DISCOVERY: Final = an_object(
    {
        "dev": a_map(TEXT),
        "o": a_map(TEXT),
        "cmps": a_map(_SENSOR),
        "state_topic": TEXT,
        "availability_topic": TEXT,
        "qos": {"const": 1},
    }
)
STATE: Final = a_map({"type": ["number", "null"]})
AVAILABILITY: Final[Schema] = {"enum": ["online", "offline"]}
PRESENCE: Final = an_object(
    {"gateway": TEXT, "state": AVAILABILITY, "version": TEXT},
    {"ready": {"type": "boolean"}, "reason": TEXT},
)
