"""The serial link's task: pushes samples and events, answers settings, sends files and log lines.

The task looks at its port every few milliseconds and moves what there is; it waits for nothing. So
a link without another end costs turns and no more, and whatever it does is over before the bus, the
sampling or the watchdog could miss it. :mod:`protocols.wire.link` has the protocol.
"""

import os

from micropython import const

from protocols.wire.link.end import CLOSED, MESSAGE, NO_EVENT, OPENED
from protocols.wire.link.file_source import FileSource
from protocols.wire.link.messages import (
    CONFIG,
    ERROR,
    EVENTS,
    FILE,
    INFORMATION,
    LOG,
    RESTARTING,
    SAMPLES,
    STOPPING,
    WARNING,
    pack_log,
)
from protocols.wire.link.node import NodeEnd
from protocols.wire.modbus.pdu import (
    DIAGNOSTICS,
    EXCEPTION,
    ILLEGAL_FUNCTION,
    LineCounters,
    PduServer,
)

from .identity import secret
from .link_files import LinkFiles
from .link_log import LogLines

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Files, LinkedNode, LinkPort

_TURN_MS = const(5)
_SENDING_MS = const(2)  # while the port is full: what it holds lasts longer than this
_HANGUP_MS = const(100)
_LOOK_MS = const(1000)  # at least this often everything is looked at
_CHUNK = const(128)
_CHUNKS = const(4)  # in one turn: what babbles must not keep the others waiting
_SAMPLES = const(8)  # wait while the link is down
_FILE_QUEUE = const(976)  # two packets: one on the line, one behind it
_LOG_QUEUE = const(256)
_SLOTS = const(1)  # the gateway asks one thing at a time
_PACKETS = const(8)  # what the queues hold, unless the line is bad and packets are short
_CONFIG_QUEUE = const(260)
_MOST_PDU = const(253)
_COUNT = const(0x3FFFFFFF)


class LinkServer:
    """Serves one port for ever. ``failures`` counts the errors after which it began anew.

    ``store`` has the node's key; ``identity`` is what the bus gives as device identification.
    """

    def __init__(
        self,
        node: "LinkedNode",
        port: "LinkPort",
        baud: int,
        uid: bytes,
        store: "Files",
        identity: "dict[int, bytes]",
    ) -> None:
        self.log = LogLines()
        self.hangups = 0
        self.failures = 0
        self.dropped = 0  # samples that found no room; the numbers in the frames show them too
        self._node = node
        self._port = port
        self._baud = baud
        self._uid = uid
        self._store = store
        self._files = LinkFiles(node, self.log)
        self._pdu = PduServer(node.bank, identity, LineCounters())
        self._chunk = bytearray(_CHUNK)
        self._begin()
        self._spoiled = False
        self.note(
            INFORMATION, "boot %d, reset cause %d" % (node.epoch.value, node.board.reset_cause())
        )
        if node.key.problem:
            self.note(WARNING, node.key.problem)
        fault = node.board.last_fault()
        if fault is not None:
            self.note(ERROR, "last fault: %s, %s" % fault[:2])

    def _begin(self) -> None:
        """Make an end without a session.

        What waited for the other end is lost. The sample that is shown is offered again, and so are
        the events: their numbers name what is missing before them.
        """
        node = self._node
        key = node.key
        sample = len(node.sample_frame.shown())
        event = len(node.event_frame.shown())
        queues = {
            SAMPLES: _SAMPLES * (sample + 2),
            EVENTS: 2 * (event + 2),
            CONFIG: _CONFIG_QUEUE,
            FILE: _FILE_QUEUE,
            LOG: _LOG_QUEUE,
        }
        self.end = NodeEnd(
            self._uid,
            node.sample_frame.map.map_id,
            node.epoch.value,
            key.key_id,
            secret(self._store) if key.key_id else None,
            os.urandom,
            node.uptime.ms,
            queues,
            baud=self._baud,
            slots=_SLOTS,
            packets=_PACKETS,
        )
        self._tx = memoryview(self.end.tx)
        self._due_ms = 0  # when the end has something to do without being asked
        self._at = self._until = 0  # what of tx is still to be written
        self._pushed = 0  # events in the frame that was given to the link last
        self._logged = self.log.first()  # lines that were given to it
        self._answer = b""  # to a config request; waits for room
        self._source = FileSource(self.end, self._files.find)
        if node.sample_frame.seq:
            self.sample_taken()

    async def run(self) -> None:
        """Serve until cancelled. An error of the link ends its session and nothing else."""
        sleep_ms = self._node.board.sleep_ms
        while True:
            try:
                pause = self.turn()
            except Exception as error:  # noqa: BLE001  # the bus must go on
                self.failures = (self.failures + 1) & _COUNT
                self.note(ERROR, "link: %s: %s" % (type(error).__name__, error))
                pause = _HANGUP_MS
            await sleep_ms(pause)

    def turn(self) -> int:
        """Do all that can be done now; return the milliseconds until the next turn."""
        if self._spoiled:
            self._begin()
        # Until it has ended: what interrupts a turn leaves the end in any state.
        self._spoiled = True
        try:
            self._move(self._node.uptime.ms())
            pause = _SENDING_MS if self._at < self._until else _TURN_MS
        except OSError:
            self.hangups = (self.hangups + 1) & _COUNT
            pause = _HANGUP_MS
        self._spoiled = False
        return pause

    def _move(self, now: int) -> None:
        end = self.end
        chunk = self._chunk
        due = now >= self._due_ms
        for _ in range(_CHUNKS):
            count = self._port.readinto(chunk, _CHUNK)
            if not count:
                break
            due = True
            end.feed(chunk, count, now)
        if due:
            self._due_ms = now + _LOOK_MS
            self._take()
            self._offer(now)
            self._write(now)
            wait = end.wait_ms(now)
            if 0 <= wait < _LOOK_MS and self._due_ms:  # 0: what was done above needs a turn
                self._due_ms = now + wait

    def kick(self) -> None:
        """Have the next turn look for what there is to send."""
        self._due_ms = 0

    def sample_taken(self) -> None:
        """Queue the sample that is shown, in place of the oldest if there is no room."""
        frame = self._node.sample_frame.shown()
        end = self.end
        self._due_ms = 0
        while not end.send(SAMPLES, frame):
            self.dropped = (self.dropped + 1) & _COUNT
            if not end.drop_oldest(SAMPLES):
                return

    def note(self, level: int, text: str) -> None:
        """Add a line to the log."""
        self.log.add(level, text, self._node.uptime.ms())
        self._due_ms = 0

    def close(self, restarting: bool) -> None:
        """Take leave of the other end, as far as the port has room."""
        try:
            self.end.close(RESTARTING if restarting else STOPPING)
            self._write(self._node.uptime.ms())
        except OSError:
            pass
        self._spoiled = True  # a node that runs on needs a new end

    def _take(self) -> None:
        end = self.end
        # An answer that waits for room holds back what was asked after it.
        while not self._answer:
            event = end.next_event()
            if event == NO_EVENT:
                return
            if event == MESSAGE:
                if end.channel == FILE:
                    self._source.take(end.message)
                elif end.channel == CONFIG:
                    self._answer = self._execute(end.message)
                    if self._answer:
                        self._send_answer()
            elif event == CLOSED:
                self._source.stop()
                self._files.broken_off()
                self._answer = b""
                self.note(INFORMATION, "link: closed, reason %d" % end.reason)
            elif event == OPENED:
                self.note(INFORMATION, "link: open")

    def _offer(self, now: int) -> None:
        """Give the channels what there is room for."""
        end = self.end
        node = self._node
        if self._answer:
            self._send_answer()
        count = node.events.count
        if count != self._pushed and end.send(EVENTS, node.event_frame.shown()):
            self._pushed = count
        log = self.log
        while self._logged < log.count:
            level, at, text = log.line(max(self._logged, log.first()))
            if not end.send(LOG, pack_log(level, at, text)):
                break
            self._logged = max(self._logged, log.first()) + 1
        self._source.pump()
        self._files.let_go(end, now)

    def _write(self, now: int) -> None:
        while True:
            while self._at < self._until:
                count = self._port.write(self._tx[self._at : self._until])
                if not count:
                    return
                self._at += count
            self._until = self.end.poll(now)
            self._at = 0
            if not self._until:
                return

    def _execute(self, message: memoryview) -> bytes:
        """Do what a config request asks for, as the bus would; return the message of the answer."""
        length = len(message) - 2
        if not 1 <= length <= _MOST_PDU:
            return b""
        function = message[2]
        if function == DIAGNOSTICS:  # the counters of a line that this is not
            return bytes(message[:2]) + bytes((function | EXCEPTION, ILLEGAL_FUNCTION))
        # As it would stand in a frame of the bus: unit id before it, CRC behind it.
        request = bytearray(3 + length)
        request[0] = self._node.rtu.unit_id
        request[1 : 1 + length] = message[2:]
        answer = bytearray(256)
        end = self._pdu.execute(request, len(request), answer)
        if not end:
            return b""
        return bytes(message[:2]) + answer[1:end]

    def _send_answer(self) -> None:
        if self.end.send(CONFIG, self._answer):
            self._answer = b""
            self._node.after_request()
