"""The RS-485 bus of a bench: the line, its faults, its trace and pictures of it."""

from hil.bus.clash import Traffic
from hil.bus.fault import Fault, FaultApplied, FaultKind, Plan
from hil.bus.line import Rs485Line
from hil.bus.trace import Burst, Trace

__all__ = ["Burst", "Fault", "FaultApplied", "FaultKind", "Plan", "Rs485Line", "Trace", "Traffic"]
