"""A stand-in for Renode that is as strict as Renode: for tests of what we send it, and when.

    python -m hil.renode.fake --disable-xwt --plain --robot-server-port 0

It has the grammar of each Monitor command that the bench uses and nothing else, fails where a name
is not there, and takes from Renode 1.16.1 what a bench must not forget: connections that may not
be idle, machines that lose milliseconds in parallel, ports that meet the outside once in a quantum,
time that flies while every core stands still. It emulates no processor: a node prints a boot line,
answers a line at its prompt, and sends back what it hears on another UART, on the line whole frames
that no silence tore.
"""

from hil.renode.fake.monitor import Fake, Refused
from hil.renode.fake.server import main

__all__ = ["Fake", "Refused", "main"]
