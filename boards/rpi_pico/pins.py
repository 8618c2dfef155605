"""Where the node's parts are on a Raspberry Pi Pico (wiring: board.toml)."""

from machine import ADC, I2C, UART, Pin

LINE_DE = 2  # drives the RS-485 transceiver while high


def line(baud: int) -> UART:
    """The RS-485 line, on GP0 and GP1."""
    return UART(0, baud, tx=Pin(0), rx=Pin(1))


def serial(index: int, baud: int) -> UART:
    """Serial part 0 on GP4 and GP5; IndexError for another, the chip has no third UART."""
    if index:
        raise IndexError("rpi_pico has one UART for parts")
    return UART(1, baud, tx=Pin(4), rx=Pin(5))


def i2c() -> I2C:
    """The bus on GP9 and GP8."""
    return I2C(0, scl=Pin(9), sda=Pin(8))


def adc(name: str) -> ADC:
    """The input ``ph`` or ``turbidity``; KeyError for any other."""
    return ADC(Pin({"ph": 26, "turbidity": 27}[name]))


def onewire() -> Pin:
    """The 1-Wire bus."""
    return Pin(15)
