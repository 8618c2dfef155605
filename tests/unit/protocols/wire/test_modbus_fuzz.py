"""Any input yields an answer, silence or NEED_DATA, nothing else, in bounded memory."""

import gc

import micropython

from protocols.wire.crc import crc16
from protocols.wire.modbus.server import NEED_DATA, SILENT
from tests.dual import vectors

from .support import Bank, Lcg, Line, with_crc

# The interpreter's own: absent on CPython, where there is nothing to lock.
_lock = getattr(micropython, "heap_lock", lambda: None)
_unlock = getattr(micropython, "heap_unlock", lambda: None)


def _bank() -> Bank:
    return Bank(bytes(250), bytes(250))


def _seeds() -> "list[bytes]":
    data = vectors("modbus")
    frames = [bytes.fromhex(case["request"]) for case in data["cases"]]
    frames += [bytes.fromhex(case["answer"]) for case in data["cases"] if case["answer"]]
    return frames + [bytes.fromhex(case["data"]) for case in data["bursts"]]


def _mutated(random: Lcg, seeds: "list[bytes]") -> bytearray:
    frame = bytearray(seeds[random.below(len(seeds))])
    kind = random.below(7)
    if kind == 0:
        return random.bytes(random.below(300))
    if kind == 1:
        return frame[: random.below(len(frame) + 1)]
    if kind == 2:
        # Wrong inside and a good CRC: what the framing lets through.
        for _ in range(1 + random.below(3)):
            frame[random.below(len(frame))] = random.below(256)
        return bytearray(with_crc(bytes(frame[:-2])))
    if kind == 3:
        frame[random.below(len(frame))] ^= 1 << random.below(8)
    if kind == 4:
        frame += seeds[random.below(len(seeds))]
    return frame


def _fuzz(strict: bool, seed: int, turns: int) -> "tuple[int, int]":
    random = Lcg(seed)
    seeds = _seeds()
    line = Line(_bank(), strict=strict)
    server = line.server
    tx = server.tx
    answers = silences = 0
    now_us = 0
    for _ in range(turns):
        data = _mutated(random, seeds)
        at = 0
        pace = random.below(6)
        while at < len(data):
            size = min(1 + random.below(len(data)), len(data) - at)
            server.feed(memoryview(data)[at : at + size], size, now_us)
            at += size
            if at == len(data):
                now_us += (0, 20_000, 20_000, 20_000)[random.below(4)]
            else:
                now_us += (0, 0, 1000, 1145, 3000, 20_000)[pace]
            result = server.poll(now_us)
            if result == SILENT:
                silences += 1
            elif result != NEED_DATA:
                assert 5 <= result <= 256
                assert tx[0] == 1
                assert crc16(tx, result) == 0
                answers += 1
            wait_us = server.wait_us(now_us)
            assert -1 <= wait_us <= 4011
    assert server.tx is tx
    assert len(tx) == 256
    # Whatever came before, after a silence a request is heard.
    line.now_us = now_us + 1_000_000
    server.poll(line.now_us)
    line.whole(b"\x01")  # ends what may have been the first half of a torn frame
    line.now_us += 1_000_000
    assert line.whole(with_crc(b"\x01\x04\x00\x00\x00\x01")) == with_crc(b"\x01\x04\x02\x00\x00")
    return answers, silences


def test_any_input_where_gaps_can_be_seen() -> None:
    answers, silences = _fuzz(True, 1, 1500)
    assert answers > 80  # or the mutations are too wild to test anything
    assert silences > 500


def test_any_input_where_they_cannot() -> None:
    answers, silences = _fuzz(False, 2, 1500)
    assert answers > 80
    assert silences > 500


def test_memory_does_not_grow() -> None:
    if not hasattr(gc, "mem_alloc"):
        return  # CPython: tests/unit/protocols/test_shared_line.py measures it with tracemalloc
    random = Lcg(3)
    seeds = _seeds()
    line = Line(_bank(), strict=False)
    before = after = 0
    for turn in range(600):
        data = _mutated(random, seeds)
        line.server.feed(data, len(data), line.now_us)
        line.now_us += random.below(2) * 20_000
        line.server.poll(line.now_us)
        data = bytearray()
        if turn == 100:
            gc.collect()
            before = gc.mem_alloc()
    gc.collect()
    after = gc.mem_alloc()
    assert after <= before + 128, (before, after)  # a stray word on the stack may keep a block


def test_the_hot_path_allocates_nothing() -> None:
    data = vectors("modbus")
    bank = Bank(bytes.fromhex(data["input"]), bytes.fromhex(data["holding"]))
    identity = {int(number): bytes.fromhex(text) for number, text in data["identity"].items()}
    for strict in (True, False):
        server = Line(bank, 1, identity, 9600, strict).server
        for case in data["cases"] + ([] if strict else data["bursts"]):
            request = bytearray(bytes.fromhex(case.get("request") or case["data"]))
            length = len(request)
            result = NEED_DATA
            _lock()
            try:
                server.feed(request, length, 1000)
                server.wait_us(1000)
                result = server.poll(9000)
                server.feed(request, 1, 20000)
                server.feed(request, 1, 30000)
                server.poll(30000)
                server.poll(40000)
            finally:
                _unlock()
            if case["unit"] == 1 and case["answer"]:
                assert result == len(case["answer"]) // 2, case["name"]
