"""The lines of a bench: RS-485 bus and serial links, faults, traces and pictures of them."""

from hil.bus.clash import Traffic
from hil.bus.duplex import DuplexLine
from hil.bus.fault import Fault, FaultApplied, FaultKind, Plan
from hil.bus.line import Rs485Line
from hil.bus.trace import Burst, Trace

__all__ = [
    "Burst",
    "DuplexLine",
    "Fault",
    "FaultApplied",
    "FaultKind",
    "Plan",
    "Rs485Line",
    "Trace",
    "Traffic",
]
