"""The collector's configuration: what a file means, and every wrong value with its remedy."""

from pathlib import Path

import pytest

from gateway_agent.collector.config import (
    CollectorConfig,
    CollectorFiles,
    KnownGateway,
    KnownNode,
    load,
)
from gateway_agent.config_types import MqttConnection, TlsFiles
from gateway_agent.tables import ConfigError

WHOLE = """
[collector]
key = "collector.pem"
database = "data/collector.db"

[broker]
host = "127.0.0.1"
port = 8883
version = "3.1.1"
username = "collector"
password_file = "password"
tls = { ca = "ca.pem" }

[[gateway]]
id = "gw-1"
keys = ["gw-1.pub", "/keys/gw-1-new.pub"]

[[node]]
uid = "0102030405060708090a0b0c"
key = "air-1.json"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "collector.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(problem).removeprefix(f"{path}: ") for problem in caught.value.problems]


def test_a_whole_file(tmp_path: Path) -> None:
    assert load(write(tmp_path, WHOLE)) == CollectorConfig(
        collector=CollectorFiles(
            key=tmp_path / "collector.pem", database=tmp_path / "data/collector.db"
        ),
        broker=MqttConnection(
            host="127.0.0.1",
            port=8883,
            version="3.1.1",
            tls=TlsFiles(ca=tmp_path / "ca.pem"),
            username="collector",
            password_file=tmp_path / "password",
        ),
        gateway=(
            KnownGateway(id="gw-1", keys=(tmp_path / "gw-1.pub", Path("/keys/gw-1-new.pub"))),
        ),
        node=(KnownNode(uid="0102030405060708090a0b0c", key=tmp_path / "air-1.json"),),
    )


def test_every_problem_comes_at_once(tmp_path: Path) -> None:
    text = (
        WHOLE.replace('"gw-1"', '"gw/1"')
        .replace('"0102', '"01')
        .replace("8883", '"8883"')
        .replace('key = "collector.pem"\n', "")
    )
    assert [line.partition(":")[0] for line in problems(tmp_path, text)] == [
        "collector.key",
        "broker.port",
        "gateway[0].id",
        "node[0].uid",
    ]


def test_a_gateway_stands_once(tmp_path: Path) -> None:
    text = WHOLE + '[[gateway]]\nid = "gw-1"\nkeys = ["other.pub"]\n'
    (line,) = problems(tmp_path, text)
    assert line.startswith("gateway[1].id: expected an id no other gateway has")
    assert line.endswith("gateway[0].id has it already: list all its keys in one table")


@pytest.mark.parametrize("keys", ["[]", '"gw-1.pub"', "[1]", '[""]'])
def test_keys_are_files(tmp_path: Path, keys: str) -> None:
    (line,) = problems(tmp_path, WHOLE.replace('["gw-1.pub", "/keys/gw-1-new.pub"]', keys))
    assert line.startswith("gateway[0].keys: expected an array of 1 to 16 public key files")


def test_a_collector_without_a_gateway_is_none(tmp_path: Path) -> None:
    text = WHOLE.partition("[[gateway]]")[0]
    assert problems(tmp_path, text)[0].startswith("gateway: ")
    assert problems(tmp_path, "gateway = []\n" + text)[0].startswith("gateway: expected at least")
