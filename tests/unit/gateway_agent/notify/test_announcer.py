"""What stays on the broker of an alarm: its state, and nothing once its rule is gone."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from gateway_agent.notify.announcer import FILE_NAME, Announcer
from gateway_agent.notify.queue import NoticeQueue
from gateway_agent.status import NotifyStatus
from gateway_agent.uplink.connection import Client
from tests.unit.gateway_agent.slave import until

from .test_queue import notice


class Connection:
    """Keeps what is retained, by topic; answers at once."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}

    def post_first(self, topic: str, body: bytes, retain: bool) -> None:
        if retain:
            self.retained[topic] = body

    async def answered(self, topic: str, posted: None) -> None:
        pass


@pytest.mark.parametrize(
    ("kept", "gone"), [(b'["gone"]', b""), (b'["gone\xff"]', None), (b"", None)]
)
async def test_the_state_of_a_rule_that_a_reload_removes_is_taken_back(
    tmp_path: Path, kept: bytes, gone: bytes | None
) -> None:
    (tmp_path / FILE_NAME).write_bytes(kept)
    queue, status = NoticeQueue(10), NotifyStatus(name="all", type="mqtt", where="")
    states = {"high": notice(0)}
    announcer = Announcer(status, queue, "gw-1", tmp_path, lambda: states, lambda: True)
    connection = Connection()
    run = asyncio.create_task(announcer.run(cast("Client", connection)))
    topic = "tianfu/gw-1/alarm/high"
    await until(lambda: connection.retained.get(topic))
    assert (tmp_path / FILE_NAME).read_bytes() == b'["high"]'
    assert connection.retained.get("tianfu/gw-1/alarm/gone") == gone
    states.clear()
    queue.put(notice(1))
    await until(lambda: connection.retained[topic] == b"")
    run.cancel()
    await asyncio.wait({run})
