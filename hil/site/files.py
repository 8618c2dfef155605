"""The folder of one site: keys and configuration files, as a user makes them with an editor."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from boards.records import key_content
from gateway_agent.keys import generate_signing_key, public_path
from hil.bench import Bench
from hil.engines.base import KeepsLineTime
from hil.errors import SiteError
from hil.files import write_private
from hil.site.toml import dump_toml

GATEWAY_ID: Final = "demo"
POLL_MS: Final = 500
#: How long the gateway waits for an answer, of nodes in real time and of those that may lag behind.
TIMEOUT_MS: Final = 150
VIRTUAL_TIMEOUT_MS: Final = 500


class SiteFiles:
    """The files of one run below ``folder``, which must be empty or not exist. SiteError."""

    def __init__(
        self, folder: Path, release_keys: tuple[Path, ...] = (), poll_ms: int = POLL_MS
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SiteError(f"{folder}: expected an empty folder or a new name, got one with files")
        self.folder = folder
        self._poll_ms = poll_ms
        self._release_keys = [str(path) for path in release_keys]
        self.more_uplinks: list[dict[str, object]] = []  # tables beside the collector's
        self.state = folder / "state"
        self.gateway_toml = folder / "gateway.toml"
        self.collector_toml = folder / "collector.toml"
        self.database = folder / "collector/collector.db"

    def write(self, bench: Bench, broker_port: int) -> None:
        """Make the keys and both configuration files for the nodes of ``bench``.

        A node that has a link is on that alone: the gateway takes one way to each node.
        """
        keys = self.folder / "keys"
        gateway_key, collector_key = keys / "gateway.pem", keys / "collector.pem"
        generate_signing_key(gateway_key)
        generate_signing_key(collector_key)
        self.database.parent.mkdir(mode=0o700)
        nodes: list[dict[str, object]] = []
        devices: list[dict[str, object]] = []
        links: list[dict[str, object]] = []
        for name in bench.names:
            spec = bench.nodes[name].spec
            assert spec.key is not None, "a gateway takes only nodes with a key"
            write_private(keys / f"{name}.json", key_content(spec.key_id, spec.key).decode())
            node: dict[str, object] = {"uid": spec.uid, "key": f"keys/{name}.json"}
            nodes.append(node)
            device: dict[str, object] = {
                "name": f"{name}-1",
                "kind": "node",
                "role": spec.role,
                **node,
            }
            if name in bench.links:
                port = {"port": bench.link_port(name), "baudrate": spec.link_baud}
                link = {"name": f"link-{name}", "type": "link", **port}
                links.append({**link, "device": [device]})
            else:
                devices.append({**device, "unit": bench.unit(name), "period_ms": self._poll_ms})
        broker = {"host": "127.0.0.1", "port": broker_port, "version": "5"}
        bus = {"name": "rs485", "type": "rtu", "port": bench.port, "baudrate": bench.baud}
        timeout_ms = VIRTUAL_TIMEOUT_MS if isinstance(bench.engine, KeepsLineTime) else TIMEOUT_MS
        uplink: dict[str, object] = {
            **broker,
            "receipt": "signed",
            "collector_key": f"keys/{public_path(collector_key).name}",
            "batch_interval_ms": 500,
            "retry_ms": 2000,
        }
        gateway = {
            "gateway": {
                "id": GATEWAY_ID,
                "state_dir": "state",
                "key": "keys/gateway.pem",
                "update_keys": self._release_keys,
            },
            "uplink": [uplink, *self.more_uplinks] if self.more_uplinks else uplink,
            "outbox": {"commit_ms": 50},
            "bus": [{**bus, "timeout_ms": timeout_ms, "device": devices}, *links],
        }
        collector = {
            "collector": {"key": "keys/collector.pem", "database": "collector/collector.db"},
            "broker": broker,
            "gateway": [{"id": GATEWAY_ID, "keys": ["keys/gateway.pem.pub"]}],
            "node": nodes,
        }
        self.gateway_toml.write_text(dump_toml(gateway), encoding="utf-8")
        self.collector_toml.write_text(dump_toml(collector), encoding="utf-8")
