"""The air role: PMS5003 (particles), MH-Z19B (carbon dioxide), SHT3x (temperature, humidity)."""

from micropython import const

from firmware.sensors.mhz19b import Mhz19b
from firmware.sensors.pms5003 import Pms5003
from firmware.sensors.sht3x import Sht3x
from protocols.wire.registers import AIR, setting_address

from .base import Role

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.sensors.ports import Config, Events, PartsBoard


class Air(Role):
    """Points of ``registers.AIR``; self-test bits: 0 PMS5003, 1 MH-Z19B, 2 SHT3x."""

    def __init__(self, board: "PartsBoard", config: "Config", events: "Events") -> None:
        Role.__init__(self, AIR, board, config, events)
        self._passive = setting_address("pms_passive")
        self._pms = Pms5003(board, self._uart("pms5003"))
        self._fit(self._pms, 0)
        self._fit(Mhz19b(board, self._uart("mhz19b")), 4)
        self._fit(Sht3x(board, self._i2c()), 5)

    async def sample(self) -> None:
        """Do as :meth:`Role.sample` does; the PMS5003's mode follows the configuration."""
        self._pms.passive = self._config.value(self._passive) == 1
        await Role.sample(self)
