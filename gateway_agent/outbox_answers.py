"""What the agent answers to those who carry its outbox away: see :mod:`.outbox_socket`."""

import shutil
from collections.abc import Callable
from typing import Final

from .config import GatewayConfig
from .outbox_socket import OutboxAnswer, OutboxQuestion
from .store.errors import StoreError, StoreFull
from .store.writer import OutboxWriter
from .uplink.mqtt import Uplink

COPY_NAME: Final = "outbox.copy.db"  # in the state directory, for `backup` to take
_ROOM: Final = 2  # times the size of the outbox that must be free: records need room, too


class OutboxAnswers:
    """Answers while the outbox is open; ``stores`` returns None in place of what is not yet."""

    def __init__(
        self,
        config: GatewayConfig,
        stores: Callable[[], tuple[OutboxWriter | None, Uplink | None]],
    ) -> None:
        self._config = config
        self._stores = stores

    async def answer(self, question: OutboxQuestion) -> tuple[OutboxAnswer, bytes]:
        """See :func:`answer_of`."""
        outbox, uplink = self._stores()
        if outbox is None or uplink is None:
            raise StoreError("the outbox is not open yet: `tianfu-gateway status` shows why")
        return await answer_of(question, self._config, outbox, uplink)


async def answer_of(
    question: OutboxQuestion, config: GatewayConfig, outbox: OutboxWriter, uplink: Uplink
) -> tuple[OutboxAnswer, bytes]:
    """Answer one question. ValueError: it is none. StoreError: the outbox cannot do it."""
    data, first, last, text = b"", 0, 0, ""
    copied = 0, 0
    if question.what == "batch":
        made = await uplink.batch_after(question.after)
        if made is not None:
            piece, data = made
            first, last = piece.first, piece.last
    elif question.what == "receipt":
        text = await uplink.carried_receipt(bytes.fromhex(question.data))
    else:
        copied = await _copy(config, outbox)
    stats = outbox.stats
    answer = OutboxAnswer(
        gateway=config.gateway.id,
        stream=stats.stream,
        receipted_to=stats.receipted_to,
        end=stats.last,
        first=first,
        last=last,
        size=len(data),
        text=text,
        copied_stream=copied[0],
        copied_last=copied[1],
    )
    return answer, data


async def _copy(config: GatewayConfig, outbox: OutboxWriter) -> tuple[int, int]:
    directory = config.gateway.state_dir
    needed = _ROOM * outbox.stats.file_bytes
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise StoreFull(f"{directory}: expected {needed} free bytes for a copy, got {free}")
    stats = await outbox.copy_to(directory / COPY_NAME)
    return stats.stream, stats.last
