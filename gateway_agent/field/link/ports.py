"""Makes the link ports of a configuration; a gateway without links imports none of their code.

That is a megabyte for as long as the process runs.
"""

from collections.abc import Mapping, Sequence

from gateway_agent.clock import GatewayClock
from gateway_agent.config import LinkBus
from gateway_agent.counters import Counters
from gateway_agent.field.commit_queue import CommitQueue
from gateway_agent.field.devices import open_links
from gateway_agent.field.heartbeat import Heartbeat
from gateway_agent.field.slot_keeper import SlotKeeper
from gateway_agent.store.mark import Mark

from .link_port import LinkPort
from .pushing_node import PushingNode
from .sessions import LinkSessions


def link_ports(
    links: Sequence[LinkBus],
    gateway: str,
    marks: Mapping[str, Mark],
    clock: GatewayClock,
    queue: CommitQueue,
    counters: Counters,
    heartbeat: Heartbeat,
    before: Sequence[LinkPort] = (),
) -> list[LinkPort]:
    """Return a port for each of ``links``. ConfigError: a key file is unusable.

    ``before``: ports that go on beside them; a node has one session at one of all.
    """
    sessions = before[0].sessions if before else LinkSessions()
    ports = []
    for link, opened in zip(links, open_links(links), strict=True):
        nodes = []
        for node in opened:
            name = node.device.device_id(gateway)
            keeper = SlotKeeper(clock, heartbeat)
            mark = marks.get(name)
            nodes.append(PushingNode(link, node, name, mark, clock, queue, counters, keeper))
        ports.append(LinkPort(link, nodes, sessions, clock, counters))
    return ports
