"""The program that the board's image runs in its REPL to time its own node.

The event frame is the one block of input registers that has 60. Turnaround is taken around the
server core; ``whole`` runs the node's server task on a line that sends requests by itself.
"""

from typing import Final

#: Defines ``turnaround(count, turns)`` and ``whole(count, turns)``, which print p50 and p99 in us
#: of an answer of ``count`` registers.
PROGRAM: Final = """
import asyncio, gc, main, time
from array import array
from firmware.node.serve import Server
from protocols.wire.crc import crc16
from protocols.wire.registers import EVENT_ADDRESS
node = main._node._node
rtu = node.rtu
def request(count):
    frame = bytearray((rtu.unit_id, 4, EVENT_ADDRESS >> 8, EVENT_ADDRESS & 255, 0, count, 0, 0))
    crc = crc16(frame, 6)
    frame[6] = crc & 255
    frame[7] = crc >> 8
    return frame
def show(took):
    took = sorted(took)
    print(took[len(took) // 2], took[len(took) * 99 // 100])
class Line:
    def __init__(self, count, took):
        self.request = request(count)
        self.took = took
        self.turn = 0
    async def receive(self, chunk):
        await asyncio.sleep_ms(2)
        if self.turn == len(self.took):
            raise KeyboardInterrupt
        chunk[:8] = self.request
        self.start = time.ticks_us()
        return 8
    def readinto(self, chunk, size):
        return None
    def write(self, answer):
        self.took[self.turn] = time.ticks_diff(time.ticks_us(), self.start)
        self.turn += 1
        return len(answer)
def turnaround(count, turns):
    frame = request(count)
    took = array("i", bytes(4 * turns))
    gc.collect()
    for turn in range(turns):
        start = time.ticks_us()
        rtu.feed(frame, 8, start)
        length = rtu.poll(start + 5000)
        answer = memoryview(rtu.tx)[:length]
        took[turn] = time.ticks_diff(time.ticks_us(), start)
        if length != 5 + 2 * count:
            raise ValueError("answer of %d bytes" % length)
    show(took)
def whole(count, turns):
    took = array("i", bytes(4 * turns))
    line = Line(count, took)
    server = Server(node.board, line, rtu, lambda: None, lambda: None)
    gc.collect()
    try:
        asyncio.run(server.run())
    except KeyboardInterrupt:
        asyncio.new_event_loop()
    show(took)
"""
