"""Take batches that did not come by a broker: from a stick, or from the archive.

They go through the receiver as all others do, so a batch that comes both ways has one effect, and
a gateway that is not admitted gets none. A running collector has the database, and takes them on a
socket beside it.
"""

import base64
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway_agent.keys import load_private
from gateway_agent.question_socket import QuestionClient, QuestionSocket, serve_questions
from gateway_agent.status_socket import StatusError, connected
from gateway_agent.stick import Stick
from protocols.uplink import MAX_BATCH_BYTES

from .config import CollectorConfig
from .database import Database
from .keys import allowed_of, keys_of_gateways, keys_of_nodes
from .receiver import ACCEPTED, DUPLICATE, EARLY, BatchOutcome, BatchReceiver

log = logging.getLogger(__name__)

_MAX_QUESTION: Final = MAX_BATCH_BYTES * 4 // 3 + 16
_MAX_ANSWER: Final = 1 << 16
_CLIENT_S: Final = 120.0
MAX_PROBLEMS: Final = 100  # that are kept as text; all are counted


class ImportedBatch(Struct, frozen=True):
    """What a collector answers to one batch; ``receipt`` in base64, "" if there is none."""

    verdict: str
    detail: str
    gateway: str = ""
    stream: int = 0
    receipt: str = ""


Offer = Callable[[bytes], ImportedBatch]


def as_imported(outcome: BatchOutcome) -> ImportedBatch:
    """Return an outcome in the form in which it goes over the socket."""
    receipt = base64.b64encode(outcome.receipt or b"").decode()
    return ImportedBatch(outcome.verdict, outcome.detail, outcome.gateway, outcome.stream, receipt)


def import_socket(database: Path) -> Path:
    """Return the path of the socket on which the collector of ``database`` takes batches."""
    return database.with_suffix(".import.sock")


@asynccontextmanager
async def serve_imports(
    database: Path, receive: Callable[[bytes], Awaitable[BatchOutcome]]
) -> AsyncIterator[None]:
    """Let ``receive`` take batches that clients offer while the block runs."""

    async def answer(line: bytes, client: QuestionClient) -> None:
        try:
            found = as_imported(await receive(base64.b64decode(line, validate=False)))
        except Exception as error:  # noqa: BLE001 # as a batch of the broker: nothing is committed
            found = ImportedBatch("not_committed", f"{error}")
        client.write(msgspec.json.encode(found) + b"\n")

    path = import_socket(database)
    kind = QuestionSocket(path.name, "collect --import", _MAX_QUESTION, 2, 30.0)
    async with serve_questions(path.parent, kind, answer):
        yield


def offer_to_running(database: Path, data: bytes) -> ImportedBatch:
    """Give a batch to the running collector. StatusError: none answers."""
    path = import_socket(database)
    try:
        with connected(path, "collector", "collect", _CLIENT_S) as client:
            client.sendall(base64.b64encode(data) + b"\n")
            with client.makefile("rb") as stream:
                return msgspec.json.decode(stream.readline(_MAX_ANSWER), type=ImportedBatch)
    except msgspec.DecodeError as error:
        raise StatusError(f"{path}: the collector has closed the connection") from error


@contextmanager
def receiver_alone(config: CollectorConfig) -> Iterator[BatchReceiver]:
    """Open the database of a collector that does not run, to receive. StoreBusy: it does."""
    path = config.collector.database
    database = Database(path)
    try:
        yield BatchReceiver(
            database,
            load_private(config.collector.key),
            keys_of_gateways(config),
            keys_of_nodes(config),
            path.parent / "quarantine",
            allowed=allowed_of(config),
        )
    finally:
        database.close()


class StickImport:
    """One import of a stick; the figures hold when it is done.

    ``problems``: files and batches that were not taken, as text; ``waiting``: batches that do not
    follow what is here, which is no fault: what is between is on its way, or on another stick.
    """

    def __init__(self, stick: Stick, offer: Offer) -> None:
        self._stick = stick
        self._offer = offer
        self.verdicts: Counter[str] = Counter()
        self.files = self.failed = 0
        self.problems: list[str] = []
        self._receipts: dict[tuple[str, int], bytes] = {}

    @property
    def waiting(self) -> int:
        """Return how many batches came too early."""
        return self.verdicts[EARLY]

    @property
    def is_good(self) -> bool:
        """Return whether everything on the stick is in the database."""
        return not self.failed and not self.waiting

    def run(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Take everything; write the receipts at the end. OSError: the stick does not answer."""
        for path in self._stick.unknown():
            self._problem(f"{path}: incomplete, or not a file of tianfu-edge; it was not read")
        files = self._stick.files()
        for done, file in enumerate(files):
            progress(done, len(files))
            try:
                batches = file.batches()
            except (ValueError, OSError) as error:
                if isinstance(error, OSError) and not file.path.exists():
                    raise  # the stick is gone
                self._problem(f"{file.path}: {error}; the gateway keeps what it has")
                continue
            self.files += 1
            for data in batches:
                self._take(file.path, data)
        progress(len(files), len(files))
        for (gateway, stream), receipt in self._receipts.items():
            self._stick.write_receipt(gateway, stream, receipt)

    def _take(self, path: Path, data: bytes) -> None:
        answer = self._offer(data)
        self.verdicts[answer.verdict] += 1
        if answer.receipt:
            receipt = base64.b64decode(answer.receipt)
            self._receipts[answer.gateway, answer.stream] = receipt
        if answer.verdict not in (ACCEPTED, DUPLICATE, EARLY):
            self._problem(f"{path}: {answer.verdict}: {answer.detail}")

    def _problem(self, text: str) -> None:
        self.failed += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(text)
