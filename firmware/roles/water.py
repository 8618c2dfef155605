"""The water role: A02YYUW (level), DS18B20 (temperature), analog pH and turbidity."""

from micropython import const

from firmware.sensors.a02yyuw import A02yyuw
from firmware.sensors.analog import Analog
from firmware.sensors.ds18b20 import Ds18b20
from protocols.wire.registers import WATER, setting_address

from .base import Role

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.sensors.ports import Config, Events, PartsBoard


class Water(Role):
    """Points of ``registers.WATER``; self-test bits: 0 A02YYUW, 1 DS18B20, 2 pH, 3 turbidity."""

    def __init__(self, board: "PartsBoard", config: "Config", events: "Events") -> None:
        Role.__init__(self, WATER, board, config, events)
        self._fit(A02yyuw(board, self._uart("a02yyuw")), 0)
        self._fit(Ds18b20(board, self._onewire()), 1)
        self._fit(Analog(self._adc("ph"), config, setting_address("ph_raw_1")), 2)
        self._fit(Analog(self._adc("turbidity"), config, setting_address("ntu_raw_1")), 3)
