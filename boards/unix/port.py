"""What only MicroPython's unix port has: its clock, its heap and its ttys. Types: port.pyi."""

import asyncio
import gc
import select
import sys
import termios
import time

from micropython import const

ticks_ms = time.ticks_ms
ticks_us = time.ticks_us
ticks_diff = time.ticks_diff
sleep_ms = asyncio.sleep_ms
pause_ms = time.sleep_ms  # nothing else runs meanwhile

POLLIN = select.POLLIN
POLLOUT = select.POLLOUT

_ISPEED = const(4)
_OSPEED = const(5)
_CC = const(6)
_VTIME = const(5)
_VMIN = const(6)
_OFTEN_BYTES = const(4096)

# Linux, asm-generic/termbits.h: the port's termios module has no names for the slow ones.
_SPEEDS = {
    1200: 0o11,
    2400: 0o13,
    4800: 0o14,
    9600: 0o15,
    19200: 0o16,
    38400: 0o17,
    57600: 0o10001,
    115200: 0o10002,
}


def open_tty(path, baud):
    """Open a tty raw, 8 data bits, so that a read returns what is there and never waits."""
    stream = open(path, "r+b", 0)
    termios.setraw(stream.fileno())
    set_speed(stream, baud)
    return stream


def set_speed(stream, baud):
    """Set the speed of a tty; one that is not in the table leaves the tty's own."""
    fd = stream.fileno()
    mode = termios.tcgetattr(fd)
    speed = _SPEEDS.get(baud)
    if speed is not None:
        mode[_ISPEED] = mode[_OSPEED] = speed
    mode[_CC][_VMIN] = 0
    mode[_CC][_VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def console_input():
    """Return the process's standard input, as bytes; None if it is a terminal.

    A terminal turns Ctrl-C into SIGINT itself, and stops a process in the background that reads it.
    """
    try:
        termios.tcgetattr(0)
    except OSError:
        return sys.stdin.buffer
    return None


def poller(stream, events):
    """Return a poll object that watches one stream."""
    watch = select.poll()
    watch.register(stream, events)
    return watch


def reader(stream):
    """Return the event loop's reader: ``await readinto(buf)`` wakes when there is data."""
    return asyncio.StreamReader(stream)


def heap():
    """Return the bytes in use and free, collecting until no more is found.

    The collector takes every word on the C stack for a pointer. The first collection runs over
    what the work before it left there, and may keep objects that nobody holds any more.
    """
    gc.collect()
    used = gc.mem_alloc()
    while True:
        gc.collect()
        now = gc.mem_alloc()
        if now >= used:
            return now, gc.mem_free()
        used = now


def collect_often(often):
    """Collect every few KB while modules are loaded, so that what stays is close together.

    Otherwise it ends up scattered between the compiler's garbage, and no large buffer fits.
    """
    gc.collect()
    gc.threshold(_OFTEN_BYTES if often else -1)
