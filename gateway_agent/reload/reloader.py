"""Changes the configuration of a running agent, and undoes the change that broke something.

One task does one thing at a time: it applies what is asked for, and while a change is on probation
it looks once a second whether what worked before still does. Whoever asks may leave; the change
goes on. Before anything is changed, what has proved itself is kept on the medium, so an agent that
is killed in the middle starts with that.
"""

import asyncio
import logging
from typing import Final, NamedTuple, NoReturn, Protocol

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.clock import GatewayClock
from gateway_agent.errors import OperatorError
from gateway_agent.field.field_change import RestError
from gateway_agent.progress import Flow
from gateway_agent.status import ConfigurationStatus
from gateway_agent.tables import ConfigError, read_file
from protocols.text_of_others import printable
from protocols.uplink import MAX_ACTION_DETAIL, MAX_OPERATOR_LENGTH, Action

from .in_force import ConfigSource, digest_of, digest_of_file, keep, source_of
from .plan import ConfigChange, ReloadPlan, refusals
from .prepared import PreparedConfig, differences, prepared
from .probation import Probation, what_works

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
KEEP_AGAIN_MS: Final = 60_000  # between attempts to keep a proved change on a medium that fails
MAX_WAITING: Final = 4  # reloads that wait for the one under way
CHANGED: Final = "somebody else has changed the configuration meanwhile: load it anew"
_TOO_MANY: Final = "other reloads are under way: wait for them, `tianfu-gateway status` shows them"


class ReloadedAgent(Protocol):
    """What a reload needs of the agent."""

    def running(self, source: ConfigSource) -> PreparedConfig:
        """Return what runs, with its files as they were read. ``source``: its configuration."""

    def flow(self) -> Flow:
        """Return what flows now."""

    def hindrance(self) -> str:
        """Return why nothing may be changed now; empty if it may."""

    async def change(self, new: PreparedConfig) -> None:
        """Work with ``new``. RestError, ConfigError: nothing was changed."""

    async def settle(self) -> None:
        """Give up what was kept for the case that a change is undone."""

    def note(self, action: Action) -> None:
        """Record what was done."""


class _Request(NamedTuple):
    text: str
    by: str
    origin: str
    base: str
    answer: "asyncio.Future[ReloadPlan]"


class Reloader:
    """The configuration of one agent. :meth:`plan` may be called in any thread."""

    def __init__(self, source: ConfigSource, agent: ReloadedAgent, clock: GatewayClock) -> None:
        self._agent = agent
        self._clock = clock
        self._requests: asyncio.Queue[_Request] = asyncio.Queue(MAX_WAITING)
        self._source = source  # that the agent works with
        self._proved: PreparedConfig | None = None  # what an undo goes back to; None: not on trial
        self._probation: Probation | None = None
        self._broken = ""  # why a change that ended in a fault has to be undone, until it is
        self._file_digest = ""
        self._by = ""
        self._outcome = ""

    @property
    def text(self) -> str:
        """Return the configuration that the agent works with."""
        return self._source.text

    def state(self) -> ConfigurationStatus:
        """Return what ``status`` shows."""
        left_ms = 0
        if self._probation is not None:
            left_ms = max(1, self._probation.until_ms - self._clock.boot_ms())
        return ConfigurationStatus(
            digest=self._source.digest,
            origin=self._source.origin,
            by=self._by,
            probation_ms=left_ms,
            outcome=self._outcome,
        )

    def plan(self, text: str, origin: str = "") -> ReloadPlan:
        """Return what a text would change, and why it cannot if it cannot; nothing is changed."""
        return self._planned(text, origin)[0]

    async def apply(self, text: str, by: str, origin: str, base: str = "") -> ReloadPlan:
        """Change to ``text``; the plan that is returned has problems if nothing was changed.

        ``by``: who asks, as the way here has proved it; ``origin``: where the text is from;
        ``base``: the digest of what it was made from, if it must still be in force.
        """
        answer: asyncio.Future[ReloadPlan] = asyncio.get_running_loop().create_future()
        who = printable(by)[:MAX_OPERATOR_LENGTH]
        try:
            self._requests.put_nowait(_Request(text, who, printable(origin), base, answer))
        except asyncio.QueueFull:
            return ReloadPlan(digest=digest_of(text), rows=(), problems=(_TOO_MANY,))
        return await answer

    async def apply_file(self, by: str) -> ReloadPlan:
        """Change to what the operator's file has now."""
        text = self._file_text()
        if isinstance(text, ReloadPlan):
            return text
        return await self.apply(text, by, str(self._source.path))

    async def plan_file(self) -> ReloadPlan:
        """Return what the operator's file would change now."""
        text = self._file_text()
        if isinstance(text, ReloadPlan):
            return text
        return await asyncio.to_thread(self.plan, text, str(self._source.path))

    def _file_text(self) -> str | ReloadPlan:
        """Return what the operator's file has; a plan with the problem if it cannot be read."""
        path = self._source.path
        try:
            return read_file(path).decode()
        except ConfigError as error:
            problem = str(error.problems[0])
        except UnicodeDecodeError as error:
            problem = f"{path}: expected UTF-8 text: {error}; save the file as UTF-8"
        return ReloadPlan(digest="", rows=(), problems=(problem,))

    # --- the task --------------------------------------------------------------------------------

    async def run(self) -> NoReturn:
        """Serve until cancelled."""
        await self._keep(self._source, digest_of_file(self._source.path))
        self._note("config-in-force", self._source, "")
        while True:
            raise_if_cancelled()
            request = None
            try:
                async with asyncio.timeout(None if self._proved is None else LOOK_S):
                    request = await self._requests.get()
            except TimeoutError:
                await self._look()
            if request is not None:
                await self._serve(request)

    async def _serve(self, request: _Request) -> None:
        plan, new = await asyncio.to_thread(self._planned, request.text, request.origin)
        hindrance = self._agent.hindrance() if plan.rows else ""
        if request.base not in ("", self._source.digest):
            hindrance = CHANGED
        if new is not None and not plan.rows and plan.digest == self._source.digest:
            log.warning("reload by %s: nothing differs from what is in force", request.by)
            new = None
        if new is not None and not hindrance:
            hindrance = await self._apply(plan, new, request.by)
        if hindrance:
            plan = ReloadPlan(digest=plan.digest, rows=plan.rows, problems=(hindrance,))
        if plan.problems:
            self._outcome = f"the newest reload was refused: {plan.problems[0]}"
            log.error("reload by %s refused: %s", request.by, "; ".join(plan.problems))
            text = f"sha256 {plan.digest} from {request.origin}: {plan.problems[0]}"
            self._record("config-refused", text, request.by)
        if not request.answer.done():  # whoever asked may be gone
            request.answer.set_result(plan)

    def _planned(self, text: str, origin: str) -> tuple[ReloadPlan, PreparedConfig | None]:
        """Check a text whole; None beside a plan with problems."""
        rows: tuple[ConfigChange, ...] = ()
        try:
            new = prepared(source_of(text, self._source.path, origin))
            rows = differences(self._agent.running(self._source), new)
            problems = refusals(rows)
        except ConfigError as error:
            problems = tuple(map(str, error.problems))
        except OperatorError as error:  # of a key file
            problems = (str(error),)
        except Exception as error:  # polls go on, whatever a text is like
            log.exception("reload: a fault of the agent")
            problems = (f"a fault of the agent: {error!r}; send `tianfu-gateway report`",)
        plan = ReloadPlan(digest=digest_of(text), rows=rows, problems=problems)
        return plan, None if problems else new

    async def _apply(self, plan: ReloadPlan, new: PreparedConfig, by: str) -> str:
        """Change to what was checked; return why that is not possible, empty if it is done."""
        file_digest = digest_of_file(self._source.path)
        before = self._proved or self._agent.running(self._source)
        try:
            await asyncio.to_thread(keep, before.source, file_digest)
        except OSError as error:
            return f"the state directory takes nothing, so nothing was changed: {error}"
        probation, worked = self._probation, what_works(self._agent.flow())
        if probation is not None:
            worked = probation.worked  # what worked before the first of several changes
        try:
            await self._agent.change(new)
        except (RestError, OperatorError) as error:
            return str(error)
        except Exception as error:
            log.exception("reload: a fault of the agent")
            self._broken = f"a fault of the agent: {error!r}"
        self._source, self._by, self._file_digest = new.source, by, file_digest
        self._proved = before
        if self._broken:
            await self._undo_to(before, self._broken)
            return self._outcome
        seconds = new.config.reload.probation_s
        buses = frozenset(
            row.path.split(".")[1] for row in plan.rows if row.path.startswith("bus.")
        )
        if probation is not None:
            buses |= probation.buses
        now_ms = self._clock.boot_ms()
        share = new.config.reload.silent_share
        self._probation = Probation(
            worked, self._agent.flow(), share, buses, now_ms, 1000 * seconds
        )
        if seconds and plan.rows:
            self._outcome = f"on probation for {seconds} s"
            log.warning(
                "reload by %s: %d changes, on probation for %d s", by, len(plan.rows), seconds
            )
            self._note("config-on-probation", new.source, by)
        else:
            await self._prove()
        return ""

    # --- probation -------------------------------------------------------------------------------

    async def _look(self) -> None:
        probation, before, now_ms = self._probation, self._proved, self._clock.boot_ms()
        if before is None:
            return
        fault = self._broken
        if not fault and probation is not None:
            fault = probation.fault(self._agent.flow(), now_ms)
        if fault:
            await self._undo_to(before, fault)
        elif probation is not None and probation.is_over(now_ms):
            await self._prove()

    async def _prove(self) -> None:
        if not await self._keep(self._source, self._file_digest):
            assert self._probation is not None
            self._probation.until_ms = self._clock.boot_ms() + KEEP_AGAIN_MS
            return
        self._proved = self._probation = None
        self._outcome = "the newest reload has proved itself"
        log.warning("the configuration %.12s has proved itself", self._source.digest)
        self._note("config-in-force", self._source, self._by)
        await self._agent.settle()

    async def _undo_to(self, before: PreparedConfig, why: str) -> None:
        undone = self._source
        try:
            await self._agent.change(before)
        except Exception as error:  # it is tried again at the next look
            text = f"the newest reload has to be undone ({why}), and cannot be yet: {error}"
            if text != self._outcome:
                self._outcome = text
                log.error("%s", text, exc_info=not isinstance(error, (RestError, OperatorError)))
            return
        self._source, self._proved, self._probation, self._broken = before.source, None, None, ""
        self._outcome = (
            f"the newest reload was undone: {why}. Correct {before.source.path} and reload it"
        )
        log.error("the configuration %.12s was undone: %s", undone.digest, why)
        self._record("config-undone", f"sha256 {undone.digest}: {why}", "")
        self._note("config-in-force", before.source, "")
        await self._agent.settle()

    async def _keep(self, source: ConfigSource, file_digest: str) -> bool:
        try:
            await asyncio.to_thread(keep, source, file_digest)
        except OSError as error:
            self._outcome = f"the configuration in force cannot be kept: {error}"
            log.error("%s", self._outcome)
            return False
        return True

    def _note(self, action: str, source: ConfigSource, by: str) -> None:
        self._record(action, f"sha256 {source.digest} from {source.origin}", by)

    def _record(self, action: str, detail: str, by: str) -> None:
        self._agent.note(Action(action, by, 0, printable(detail)[:MAX_ACTION_DETAIL]))
