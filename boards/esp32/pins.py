"""Where the node's parts are on an ESP32 (wiring: board.toml)."""

from machine import ADC, I2C, UART, Pin

LINE_DE = 4  # drives the RS-485 transceiver while high


def line(baud: int) -> UART:
    """The RS-485 line, on GPIO17 and GPIO16."""
    return UART(2, baud, tx=Pin(17), rx=Pin(16))


def serial(index: int, baud: int) -> UART:
    """Serial part 0 on GPIO25 and GPIO26; IndexError for another, UART 0 is the console."""
    if index:
        raise IndexError("esp32 has one UART for parts")
    return UART(1, baud, tx=Pin(25), rx=Pin(26))


def i2c() -> I2C:
    """The bus on GPIO22 and GPIO21."""
    return I2C(0, scl=Pin(22), sda=Pin(21))


def adc(name: str) -> ADC:
    """The input ``ph`` or ``turbidity``; KeyError for any other."""
    return ADC(Pin({"ph": 34, "turbidity": 35}[name]))


def onewire() -> Pin:
    """The 1-Wire bus."""
    return Pin(27)
