"""A new water node on MicroPython, its simulated probes in known liquids, read over Modbus.

Nothing calibrates the node: its defaults must fit the probes and the board. What the probes put
out comes from millivolts (hil/sim/analog.py), so a wrong scale on either side fails here.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

from hil.bench import Bench
from hil.sim.part import Steady
from hil.site.polls import PollCounts, Target, make_master, poll
from protocols.wire.registers import OK, map_of_role
from protocols.wire.sample import Sample

LIMIT_S = 30
NAMES = [point.name for point in map_of_role("water").points]
LIQUIDS = ((7.0, 0.0), (4.0, 1000.0), (10.0, 500.0))
# In NTU: the sensor's curve is bent, the calibration is a line; a wrong scale is off by thousands.
TURBIDITY_OFF = 30


async def test_a_new_node_reads_its_probes_in_known_liquids(tmp_path: Path) -> None:
    source = Steady()
    async with Bench(tmp_path, source, roles=("water",)) as bench:
        await bench.power_on()
        master = make_master(bench.port)
        target, counts = Target.of(bench.nodes["water"].spec), PollCounts()

        async def after(seq: int) -> Sample:
            """Poll until a sample later than ``seq`` that every part has a value in."""
            while True:
                sample = await poll(master, target, counts)
                if sample is not None and sample.header.seq > seq:
                    if sample.quality == (OK,) * 4:
                        return sample
                    assert sample.header.seq < seq + 20, (NAMES, sample.quality)

        try:
            async with asyncio.timeout(LIMIT_S * len(LIQUIDS)):
                seq = 0
                for ph, turbidity in LIQUIDS:
                    source.water_now = replace(source.water_now, ph=ph, turbidity=turbidity)
                    # The sample under way may be of the liquid before.
                    sample = await after(seq + 1)
                    got = dict(zip(NAMES, sample.raw, strict=True))
                    assert abs(got["ph"] / 100 - ph) <= 0.05, got
                    assert abs(got["turbidity_ntu"] / 10 - turbidity) <= TURBIDITY_OFF, got
                    seq = sample.header.seq
        finally:
            master.close()
        assert not counts.wrong
