"""What only this board's MicroPython has. Types: port.pyi."""

import asyncio
import gc
import time

import _onewire
import chip
import flashstore
import machine
import slots  # noqa: F401  # board.py hands it out

ticks_ms = time.ticks_ms
ticks_us = time.ticks_us
ticks_diff = time.ticks_diff
sleep_ms = asyncio.sleep_ms

read_record = flashstore.read
write_record = flashstore.write
store_writable = flashstore.writable
store_lost = flashstore.lost

last_fault = chip.last_fault
image_digest = chip.image_digest
unique_id = machine.unique_id
reset = machine.reset


def uart(number, baud, rx_bytes, tx_bytes):
    """Open a UART; the C driver drives the driver-enable pin where the board wires one."""
    return machine.UART(number, baud, rxbuf=rx_bytes, txbuf=tx_bytes)


def tune(uart, baud, rx_bytes, tx_bytes):
    """Open an open UART again at another speed; what waits in its buffers is lost."""
    uart.init(baud, rxbuf=rx_bytes, txbuf=tx_bytes)


def light(pin, on):
    """Switch the light at a pin."""
    machine.Pin(pin, machine.Pin.OUT).value(on)


def reader(uart):
    """Return the event loop's reader: ``await readinto(buf)`` wakes when there is data."""
    return asyncio.StreamReader(uart)


def i2c(number):
    """Open an I2C bus at 100 kHz."""
    return machine.I2C(number, freq=100000)


def adc(pin):
    """Open an analog input."""
    return machine.ADC(pin)


def wdt(timeout_ms):
    """Start the watchdog."""
    return machine.WDT(timeout=timeout_ms)


def reset_cause():
    """Return 0 after power on, 1 after the pin or a command, 2 after the watchdog."""
    cause = machine.reset_cause()
    if cause == machine.PWRON_RESET:
        return 0
    return 2 if cause == machine.WDT_RESET else 1


class OneWire:
    """The 1-Wire bus at a pin with a pull-up; slots are timed by MicroPython's C code."""

    def __init__(self, name):
        self._pin = machine.Pin(name, machine.Pin.OPEN_DRAIN, machine.Pin.PULL_UP)

    def reset(self):
        """Return True when a part answered with a presence pulse."""
        return _onewire.reset(self._pin)

    def writebyte(self, value):
        """Send one byte."""
        _onewire.writebyte(self._pin, value)

    def readinto(self, buf):
        """Fill ``buf``."""
        for index in range(len(buf)):
            buf[index] = _onewire.readbyte(self._pin)
        return len(buf)


def heap():
    """Return the bytes in use and free after a collection."""
    gc.collect()
    return gc.mem_alloc(), gc.mem_free()
