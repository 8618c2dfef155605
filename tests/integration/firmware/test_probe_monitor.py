"""``tianfu-node probe`` and ``monitor`` at a bus with a real node process on it."""

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from boards.cli import app
from tests.integration.firmware.node_process import UID, Cable, NodeProcess

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bus of one running node, which all tests here only read."""
    cable = Cable()
    with NodeProcess(tmp_path_factory.mktemp("node"), cable.node_end, "water") as node:
        node.start()
        yield cable.master_end
    cable.close()


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--baud", "115200"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


def test_probe_finds_the_node_at_its_address(port: str) -> None:
    status, text = run("probe", "--port", port, "--units", "1-2", "--json")
    assert status == 0, text
    (look,) = json.loads(text)["looks"]
    (found,) = look["found"]
    assert (found["kind"], found["unit"], found["role"]) == ("node", 1, "water")
    assert (found["uid"], found["key_id"], found["signed_writes"]) == (UID.hex(), 5, True)
    assert found["sample"].startswith("1/"), "the boot epoch of a new node"
