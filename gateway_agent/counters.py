"""The agent counts each figure at exactly one named place, in one object.

None is derived from another, so that two that ought to agree (recorded and delivered, for example)
prove something when they do. All of them start at zero with the process.
"""

from collections import Counter

from msgspec import Struct, field


class Counters(Struct):
    """Plain integers, and tables by cause. A *reading* is one valid value of one point."""

    # field: the buses
    polls: int = 0  # requests put on a line, probes included
    poll_errors: Counter[str] = field(default_factory=Counter)  # by cause
    asked_again: int = 0  # requests that met a closed connection, sent once more on a new one
    node_tag_failures: int = 0  # frames whose tag does not match the node's key
    replayed: int = 0  # frames older than the node's mark: rejected
    repeats: int = 0  # the frame already taken, read again: not recorded
    late_replies: int = 0  # answers that arrived after their request's timeout
    foreign_answers: int = 0  # answers of another unit or function than was asked
    noise_bytes: int = 0  # bytes on a line that are part of no frame
    skipped_slots: int = 0  # polls that fell due while their bus was busy
    site_requests: int = 0  # requests of a technician's tool put on a line, between the polls
    site_refused: int = 0  # of such a tool, not put on a line
    commands: Counter[str] = field(default_factory=Counter)  # of people and platforms, by outcome
    orders_rejected: int = 0  # messages on the topic of orders that nobody proven has signed
    gaps: Counter[str] = field(default_factory=Counter)  # gap records made, by cause

    # store: the outbox
    records_recorded: int = 0  # counted after the commit that made them durable
    readings_recorded: int = 0
    commits: int = 0
    store_full: int = 0  # times the medium or the size limit refused a commit
    store_damaged: int = 0  # times damage was found and put into quarantine
    records_salvaged: int = 0  # records carried over from a damaged outbox
    streams_opened: int = 0  # new stream epochs, the first of an outbox not included

    # uplink
    connects: int = 0
    disconnects: int = 0
    packets_refused: int = 0  # of a broker that would fill our memory: connection closed
    batches_sent: int = 0  # first publication
    batches_resent: int = 0  # published again because no receipt came
    pubacks: int = 0  # the broker's acknowledgements: transport, never a receipt
    receipts: int = 0  # valid receipts that covered something new
    receipts_repeated: int = 0  # valid, but nothing new in them
    receipts_stale: int = 0  # valid, but of a stream this outbox no longer has, or an old one
    receipts_behind: int = 0  # valid and new, and yet below what was receipted before
    receipts_rejected: int = 0  # wrong signature, form or gateway
    receipts_forked: int = 0  # valid, but with a head that is not ours, or ahead of us
    records_delivered: int = 0  # pruned because a receipt (or, if so configured, a PUBACK) covers
    readings_delivered: int = 0

    def as_dict(self) -> dict[str, int | dict[str, int]]:
        """Return all of them in the order of declaration, tables as plain dictionaries."""
        result: dict[str, int | dict[str, int]] = {}
        for name in self.__struct_fields__:
            value = getattr(self, name)
            result[name] = dict(value) if isinstance(value, Counter) else value
        return result
