"""Writes metrics as a request of OTLP/HTTP in its JSON form (opentelemetry-proto, "JSON Protobuf").

Counters are cumulative since the start of the agent, so a request that is lost costs nothing but
resolution: none is kept to be sent again.
"""

import json
from collections.abc import Iterable
from typing import Final

from prometheus_client.core import Metric

_CUMULATIVE: Final = 2  # AGGREGATION_TEMPORALITY_CUMULATIVE
_UNITS: Final = {"seconds": "s", "bytes": "By", "ms": "ms"}  # UCUM, by the end of a name


def request_of(
    families: Iterable[Metric], resource: dict[str, str], start_ms: int, now_ms: int
) -> bytes:
    """Return the body of one request. Times are Unix times."""
    start, now = f"{start_ms}000000", f"{now_ms}000000"
    metrics = [_metric(family, start, now) for family in families if family.samples]
    scope = {"scope": {"name": "tianfu"}, "metrics": metrics}
    found = {"resource": {"attributes": _attributes(resource)}, "scopeMetrics": [scope]}
    return json.dumps({"resourceMetrics": [found]}).encode()


def _metric(family: Metric, start: str, now: str) -> dict[str, object]:
    is_counter = family.type == "counter"
    points: list[dict[str, object]] = []
    for sample in family.samples:
        point: dict[str, object] = {"timeUnixNano": now, "asDouble": float(sample.value)}
        if is_counter:
            point["startTimeUnixNano"] = start
        if sample.labels:
            point["attributes"] = _attributes(sample.labels)
        points.append(point)
    data: dict[str, object] = {"dataPoints": points}
    if is_counter:
        data |= {"aggregationTemporality": _CUMULATIVE, "isMonotonic": True}
    return {
        "name": family.name,
        "description": family.documentation,
        "unit": _UNITS.get(family.name.rpartition("_")[2], "1"),
        "sum" if is_counter else "gauge": data,
    }


def _attributes(labels: dict[str, str]) -> list[dict[str, object]]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in labels.items()]
