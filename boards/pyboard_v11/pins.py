"""Where the node's parts are on a pyboard v1.1 (wiring: board.toml)."""

from machine import ADC, I2C, UART, Pin

LINE_DE = "X2"  # drives the RS-485 transceiver while high


def line(baud: int) -> UART:
    """The RS-485 line, on X3 and X4."""
    return UART(2, baud)


def serial(index: int, baud: int) -> UART:
    """Serial part 0 on Y9 and Y10, part 1 on Y1 and Y2."""
    return UART((3, 6)[index], baud)


def i2c() -> I2C:
    """The bus on X9 and X10."""
    return I2C(1)


def adc(name: str) -> ADC:
    """The input ``ph`` or ``turbidity``; KeyError for any other."""
    return ADC(Pin({"ph": "X11", "turbidity": "X12"}[name]))


def onewire() -> Pin:
    """The 1-Wire bus."""
    return Pin("Y3")
