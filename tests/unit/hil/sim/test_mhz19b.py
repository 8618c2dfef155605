"""MH-Z19B against the example of its manual."""

from __future__ import annotations

from hil.sim.mhz19b import Mhz19b
from hil.sim.part import Air, PartFault, Steady

from .wired import handled, wired

CO2 = bytes.fromhex("ff0186000000000079")


async def test_mhz19b_vector_608_ppm() -> None:
    air = Air(pm2_5=None, temperature=31.0, humidity=None, co2=608)
    part = Mhz19b(Steady(air))
    with wired(part) as node:
        # The data sheet's example; its temperature byte is 31 + 40.
        assert await node.ask(CO2, 9) == bytes.fromhex("ff86026047000000d1")


async def test_mhz19b_takes_commands_in_pieces_after_noise_and_refuses_bad_checksums() -> None:
    part = Mhz19b(Steady())
    with wired(part) as node:
        node.send(bytes.fromhex("ff0179000000000086"))
        await handled(part, 1)
        assert not part.abc
        node.send(CO2[:-1] + b"\x00" + b"\xff\x01")
        node.send(CO2[:4])
        assert len(await node.ask(CO2[4:], 9)) == 9
        assert part.requests == 2


async def test_mhz19b_faults() -> None:
    part = Mhz19b(Steady(), scale=2000)
    with wired(part) as node:
        part.fault = PartFault.SATURATED
        assert (await node.ask(CO2, 9))[2:4] == (2000).to_bytes(2, "big")
        part.fault = PartFault.CHECKSUM
        answer = await node.ask(CO2, 9)
        assert sum(answer[1:]) & 0xFF != 0
        part.fault = PartFault.WARM_UP
        assert (await node.ask(CO2, 9))[2:4] == (400).to_bytes(2, "big")
