"""The fixtures of the bench, one for each resource; see docs/hil.md for the list.

Everything a test uses is its own: boards, line, ports and folders, so that tests run in any order
and beside each other. Shared are an image, the first failure to bring something up, and a Renode,
which is cleared after each test (:mod:`hil.renode.pool`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Protocol

import pytest
import pytest_asyncio

from gateway_agent.field.master import Master
from hil.bench import FAST, ROLES, Bench, Place
from hil.bus.line import Rs485Line
from hil.engines.abilities import HasClock, Lags
from hil.engines.base import Board, Engine, KeepsLogs, KeepsTime
from hil.engines.deadline import Deadline
from hil.engines.registry import KINDS, EngineKind
from hil.errors import EngineError, RenodeEnded
from hil.renode.pool import RenodePool
from hil.sim.part import Source, Steady
from hil.site.mosquitto import MosquittoBroker, MosquittoForSite
from hil.site.polls import make_master as make_serial_master
from hil.site.stack import FullStack, make_full_stack
from hil.testing.bench_evidence import show_bench
from hil.testing.clocks import check_clocks
from hil.testing.evidence import Evidence, digest, versions
from hil.testing.repeat import derived_seed, plain_id, seed_of
from hil.testing.session import EVIDENCE, RAISED, SESSION, Session
from hil.testing.speed import Speed
from hil.tools import TOOLS

SPEED: Final = pytest.StashKey[Speed]()


class MakeBench(Protocol):
    """Brings up a bench; what it is given goes to :class:`hil.bench.Bench`."""

    def __call__(
        self,
        roles: Sequence[str] = ...,
        *,
        places: Sequence[Place] | None = ...,
        source: Source | None = ...,
        settings: Mapping[str, int] = ...,
        baud: int | None = ...,
        power: bool = ...,
    ) -> Awaitable[Bench]: ...


class MakeDeadline(Protocol):
    """A deadline in the time of the boards, or of one board."""

    def __call__(self, limit_s: float, board: Board | None = ...) -> Deadline: ...


@pytest.fixture
def hil_session(request: pytest.FixtureRequest) -> Session:
    """Return what this run of pytest works with."""
    return request.config.stash[SESSION]


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Return what the test leaves if it fails; add sources of your own."""
    kept: Evidence = request.node.stash[EVIDENCE]
    return kept


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return the test's own seed, drawn from --seed and its name."""
    return derived_seed(seed_of(request.node), plain_id(request.node))


@pytest.fixture
def _repetition(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="session")
def engine_name(request: pytest.FixtureRequest) -> str:
    """Return the name of the engine this test runs on."""
    return str(request.param)


@pytest.fixture
def kind(engine_name: str) -> EngineKind:
    """Return that engine's entry in the registry."""
    return KINDS[engine_name]


@pytest.fixture
def image(
    kind: EngineKind, hil_session: Session, request: pytest.FixtureRequest, evidence: Evidence
) -> Path | None:
    """Return the image the boards run, built once; None where they run the firmware's source."""
    board = hil_session.board or kind.board
    path = hil_session.image_for(kind, request.node.nodeid)
    engine: dict[str, object] = {
        "engine": kind.name,
        "engine version": hil_session.engines[kind.name].version,
        "board": board,
        "image": None if path is None else digest(path),
    }
    evidence.add("versions.json", lambda: versions(engine))
    return path


@pytest.fixture(scope="session")
def renode_pool() -> Iterator[RenodePool]:
    """Keep one Renode for all tests of this process that follow each other without a failure."""
    pool = RenodePool()
    yield pool
    pool.close()


@pytest.fixture
def engine(
    kind: EngineKind, image: Path | None, seed: int, evidence: Evidence, renode_pool: RenodePool
) -> Engine:
    """Make a fresh engine, not entered yet: a bench does that."""
    made = kind.make(image, seed, renode_pool)
    if isinstance(made, KeepsLogs):
        for name, read in made.logs().items():
            evidence.add(name, read)
    return made


@pytest.fixture
def hil_folder() -> Iterator[Path]:
    """Make a folder of the test's own with a short path, as the sockets of emulators need it."""
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        yield Path(folder)


@pytest_asyncio.fixture
async def make_bench(
    kind: EngineKind,
    engine: Engine,
    seed: int,
    evidence: Evidence,
    hil_folder: Path,
    hil_session: Session,
    renode_pool: RenodePool,
    request: pytest.FixtureRequest,
) -> AsyncIterator[MakeBench]:
    """Make a bench, once in a test: ``bench = await make_bench(("air",))``.

    At its end the nodes' clocks are compared with that of the engine.
    """
    nodes: dict[str, Board] = {}
    async with AsyncExitStack() as stack:

        async def make(
            roles: Sequence[str] = ROLES,
            *,
            places: Sequence[Place] | None = None,
            source: Source | None = None,
            settings: Mapping[str, int] = FAST,
            baud: int | None = None,
            power: bool = True,
        ) -> Bench:
            what = f"engine {kind.name}"
            hil_session.failures.check(what)
            bench = Bench(
                hil_folder / "nodes",
                source or Steady(),
                engine=engine,
                roles=roles,
                places=places,
                settings=settings,
                seed=seed,
                baud=baud,
            )
            try:
                await stack.enter_async_context(bench)
            except Exception as error:
                # An engine that cannot even be set up will not be able to in the next test.
                hil_session.failures.remember(what, request.node.nodeid, error)
                raise
            show_bench(evidence, bench)
            nodes.update(bench.nodes)
            if power:
                await power_on(bench)
            if isinstance(engine, KeepsTime):
                request.node.stash[SPEED] = Speed(engine.virtual_s)
            return bench

        async def power_on(bench: Bench) -> None:
            # A board that stays silent costs its whole time limit: once is enough for each image,
            # roles and settings. A host that is too slow has shown nothing about the board.
            settings = {role: dict(board.spec.settings) for role, board in bench.nodes.items()}
            what = f"power-on of {', '.join(bench.names)} on {kind.name}, settings {settings}"
            hil_session.failures.check(what)
            try:
                await bench.power_on()
            except RenodeEnded:
                raise  # the next test has another one
            except EngineError as error:
                hil_session.failures.remember(what, request.node.nodeid, error)
                raise

        yield make
        if request.node.stash.get(RAISED, False):
            renode_pool.doubt()
        elif (speed := request.node.stash.get(SPEED, None)) is not None:
            request.node.user_properties += speed.properties()
        try:
            await check_clocks(nodes)
        except EngineError:
            renode_pool.doubt()
            raise


@pytest_asyncio.fixture
async def bench(make_bench: MakeBench) -> Bench:
    """Bring up three nodes of three roles on one line, each with its parts, all switched on."""
    return await make_bench()


@pytest.fixture
def nodes(bench: Bench) -> dict[str, Board]:
    """Return the boards of ``bench`` by role."""
    return bench.nodes


@pytest_asyncio.fixture
async def node_bench(make_bench: MakeBench) -> Bench:
    """Bring up one air node with its parts on a line, switched on."""
    return await make_bench(("air",))


@pytest.fixture
def node(node_bench: Bench) -> Board:
    """Return the board of ``node_bench``."""
    return node_bench.nodes["air"]


@pytest.fixture
def line(bench: Bench) -> Rs485Line:
    """Return the RS-485 line of ``bench``."""
    return bench.line


@pytest_asyncio.fixture
async def make_master(evidence: Evidence) -> AsyncIterator[Callable[..., Master]]:
    """Make a Modbus master, the gateway's own, on a bench's port: ``make_master(bench)``."""
    masters: list[Master] = []

    def make(bench: Bench, *, timeout_ms: int = 250, quiet_ms: int = 20) -> Master:
        master = make_serial_master(
            bench.port, baud=bench.baud, timeout_ms=timeout_ms, quiet_ms=quiet_ms
        )
        masters.append(master)
        evidence.add("master.json", lambda: json.dumps(master.counters.as_dict(), indent=1))
        return master

    yield make
    for master in masters:
        master.close()


@pytest_asyncio.fixture
async def master(bench: Bench, make_master: Callable[..., Master]) -> Master:
    """Make a Modbus master on the port of ``bench``."""
    return make_master(bench)


@pytest.fixture
def deadline(kind: EngineKind) -> MakeDeadline:
    """Make deadlines that count the board's time where it has a clock of its own."""

    def make(limit_s: float, board: Board | None = None) -> Deadline:
        if board is None:
            return Deadline(limit_s)
        clock = board.clock() if isinstance(board, HasClock) else None
        lag = board.lag_s if isinstance(board, Lags) else None
        return Deadline(limit_s, clock, lag=lag)

    return make


@pytest_asyncio.fixture
async def broker(hil_folder: Path, evidence: Evidence) -> AsyncIterator[MosquittoForSite]:
    """Start a real mosquitto on a free port."""
    process = MosquittoBroker(needed_tool("mosquitto"), hil_folder / "broker")
    made = MosquittoForSite(process)
    evidence.add("broker.log", lambda: process.log)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@pytest_asyncio.fixture
async def full_stack(
    bench: Bench, broker: MosquittoForSite, hil_folder: Path, evidence: Evidence
) -> AsyncIterator[FullStack]:
    """Start ``bench`` with a gateway process, ``broker`` and a collector, all started."""
    made = make_full_stack(hil_folder / "site", bench, broker)
    evidence.add("gateway.log", made.gateway.log)
    evidence.add("collector.log", made.collector.log)
    async with made:
        yield made


@pytest.fixture
def mpremote() -> Path:
    """Return the program mpremote."""
    return needed_tool("mpremote")


@pytest.fixture
def mbpoll() -> Path:
    """Return the program mbpoll, a Modbus client made by others."""
    return needed_tool("mbpoll")


def needed_tool(name: str) -> Path:
    """Return a program of hil.tools. Without it a test is skipped; under CI=true it fails."""
    tool = TOOLS[name]
    found = tool.find()
    if found is not None:
        return found
    reason = f"{name} is not installed: {tool.remedy}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI=true, and {reason}", pytrace=False)
    pytest.skip(reason)
