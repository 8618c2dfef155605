"""A site of real processes, whose broker, gateway and collector can each be taken away."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from hil.bench import Bench
from hil.site.files import SiteFiles
from hil.site.mosquitto import MosquittoForSite
from hil.site.processes import CollectorProcess, GatewayProcess
from hil.site.site import Site

FullStack: TypeAlias = Site[MosquittoForSite, GatewayProcess]


def make_full_stack(folder: Path, bench: Bench, broker: MosquittoForSite) -> FullStack:
    """Return a site with its files in ``folder``, which must be empty or not exist. SiteError."""
    files = SiteFiles(folder)
    return Site(
        files,
        bench,
        broker,
        GatewayProcess(files.gateway_toml, files.state),
        CollectorProcess(files.collector_toml),
    )
