"""One sample on its way from the parts to the frame: qualities and raw values, graded in one place.

A role owns one reading and fills it; the node grades it once, before anybody else looks at it.
"""

from micropython import const

from protocols.wire.registers import NO_SAMPLE, NOT_FITTED, OK, RANGE

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from protocols.wire.registers import RegisterMap


class Reading:
    """``raw[i]`` of ``map.points[i]`` has the quality code ``quality[i]``."""

    def __init__(self, map: "RegisterMap") -> None:
        self.map = map
        self.quality = bytearray(len(map.points))
        self.raw = [0] * len(map.points)
        self.valid = 0  # points with quality OK, as of the last grade()
        self.all(NO_SAMPLE)

    def all(self, code: int) -> None:
        """Give every point the same quality."""
        for index in range(len(self.quality)):
            self.quality[index] = code

    def grade(self, fitted: int) -> None:
        """Correct the reading in place; ``fitted`` has bit i set where point i has its part.

        A point without its part becomes NOT_FITTED, a value outside its point's range becomes
        RANGE, and a value that is not OK becomes 0.
        """
        quality = self.quality
        raw = self.raw
        points = self.map.points
        self.valid = 0
        for index in range(len(points)):
            point = points[index]
            if not fitted & (1 << index):
                quality[index] = NOT_FITTED
            elif quality[index] == OK and not point.low <= raw[index] <= point.high:
                quality[index] = RANGE
            if quality[index] == OK:
                self.valid += 1
            else:
                raw[index] = 0
