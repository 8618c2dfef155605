"""Where the node's parts are on an STM32F4 Discovery (wiring: board.toml)."""

from machine import ADC, I2C, UART, Pin

LINE_DE = "A1"  # drives the RS-485 transceiver while high


def line(baud: int) -> UART:
    """The RS-485 line, on PA2 and PA3."""
    return UART(2, baud)


def serial(index: int, baud: int) -> UART:
    """Serial part 0 on PD8 and PD9, part 1 on PC6 and PC7."""
    return UART((3, 6)[index], baud)


def i2c() -> I2C:
    """The bus on PB8 and PB9."""
    return I2C(1)


def adc(name: str) -> ADC:
    """The input ``ph`` or ``turbidity``; KeyError for any other."""
    return ADC(Pin({"ph": "C1", "turbidity": "C2"}[name]))


def onewire() -> Pin:
    """The 1-Wire bus."""
    return Pin("B4")
