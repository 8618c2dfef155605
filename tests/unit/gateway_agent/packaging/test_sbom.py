"""The bill of materials is one, by the schema of CycloneDX itself."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from gateway_agent.packaging.sbom import bill

_STATED = {
    "first": "License-Expression: MIT OR Apache-2.0",
    "sec-ond": "Classifier: License :: OSI Approved :: BSD License",
    "third": "License: A text of its own\n        over two lines",
    "fourth": "Summary: none stated",
}


@pytest.fixture
def text(tmp_path: Path) -> str:
    wheels, lock = [], ""
    for name, licence in _STATED.items():
        file = name.replace("-", "_")
        wheels.append(tmp_path / f"{file}-1.2-py3-none-any.whl")
        wheels[-1].write_bytes(name.encode())
        lock += f"{name}==1.2 \\\n    --hash=sha256:00\n"
        info = tmp_path / "site" / f"{file}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1.2\n{licence}\n\n")
    made = datetime(2026, 11, 28, tzinfo=UTC)
    return bill("tianfu-edge-gateway", "0.1.0", made, lock, wheels, tmp_path / "site")


def test_it_is_what_the_schema_asks_for(text: str) -> None:
    fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    assert fault is None, fault


def test_the_schema_is_asked(text: str) -> None:
    wrong = text.replace('"library"', '"book"', 1)
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(wrong) is not None


def test_each_component_has_its_digest_and_what_it_states_of_its_licence(text: str) -> None:
    found = {item["name"]: item for item in json.loads(text)["components"]}
    assert list(found) == list(_STATED)
    for name, item in found.items():
        assert item["hashes"][0]["content"] == hashlib.sha256(name.encode()).hexdigest()
    assert found["first"]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert found["third"]["licenses"] == [{"license": {"name": "A text of its own"}}]
    assert "licenses" not in found["fourth"]
