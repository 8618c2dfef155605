"""A fault is taken by name or refused; one that is taken and ignored is a test that passes."""

import pytest

from hil.sim.a02yyuw import A02yyuw
from hil.sim.ds18b20 import Ds18b20
from hil.sim.mhz19b import Mhz19b
from hil.sim.part import FaultSwitch, PartFault, Steady
from hil.sim.pms5003 import Pms5003
from hil.sim.sht3x import Sht3x

from .wired import handled, wired


async def test_a_fault_by_its_name_is_in_force() -> None:
    part = Mhz19b(Steady())
    assert part.fault is PartFault.NONE
    with wired(part) as node:
        command = bytes.fromhex("FF0186000000000079")
        assert len(await node.ask(command, 9)) == 9
        part.fault = "silent"
        assert part.fault is PartFault.SILENT
        node.send(command)
        await handled(part, 2)
        assert part.answers == 1


@pytest.mark.parametrize("fault", ["silnt", "", "SILENT", PartFault.ERROR])
def test_a_fault_that_a_part_does_not_have_is_refused(fault: str) -> None:
    part = Mhz19b(Steady())
    with pytest.raises(ValueError, match="fault of Mhz19b: expected none, checksum, silent, garb"):
        part.fault = fault
    assert part.fault is PartFault.NONE


def test_every_part_has_a_switch_of_its_own() -> None:
    one, other = Mhz19b(Steady()), Mhz19b(Steady())
    one.fault = PartFault.SILENT
    assert other.fault is PartFault.NONE
    for kind in (A02yyuw, Ds18b20, Mhz19b, Pms5003, Sht3x):
        assert isinstance(vars(kind)["fault"], FaultSwitch)
