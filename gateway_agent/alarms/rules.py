"""The rules that an operator writes as ``[[alarm]]``, and what each says of a moment.

A rule answers True (its condition holds), False (it does not) or None (nothing new is known, so
what was said last still holds). Delays and states are in :mod:`.state`.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple, Protocol, TypeAlias

from msgspec import Meta, Struct

from gateway_agent.config_types import Name
from gateway_agent.tables import TableReader

Severity: TypeAlias = Literal["note", "warning", "urgent"]
#: Figures of the gateway that a rule can watch, with what they count.
GaugeName: TypeAlias = Literal[
    "outbox_share", "disk_free_mib", "clock_uncertainty_ms", "records_waiting"
]

_MONTH_S: Final = 30 * 86_400
_Seconds: TypeAlias = Annotated[
    float, Meta(ge=0, le=_MONTH_S, description=f"seconds from 0 to {_MONTH_S}", examples=[10])
]
_Span: TypeAlias = Annotated[
    float, Meta(ge=1, le=_MONTH_S, description=f"seconds from 1 to {_MONTH_S}", examples=[300])
]
_Limit: TypeAlias = Annotated[
    float, Meta(description="a number in the unit of the point", examples=[80])
]
_Width: TypeAlias = Annotated[
    float, Meta(ge=0, description="a number of 0 or more, in the unit of the point", examples=[2])
]
_Share: TypeAlias = Annotated[
    float, Meta(gt=0, lt=1, description="a share of the time between 0 and 1", examples=[0.9])
]
_Text: TypeAlias = Annotated[
    str, Meta(max_length=200, description="a text of up to 200 characters", examples=["call us"])
]
_PointName: TypeAlias = Annotated[
    str, Meta(min_length=1, description="the name of a point", examples=["pm2_5"])
]
_MAX_SEEN: Final = 128  # samples in the window of a rate


class DeviceView(NamedTuple):
    """What is known of a device at a moment. ``values``: of each point, None without a value."""

    age_ms: int | None  # since the newest good answer; None: there was none yet
    values: Mapping[str, float | None]


class GatewayView(NamedTuple):
    """What is known of the gateway at a moment."""

    devices: Mapping[str, DeviceView]
    gauges: Mapping[str, float]
    now_ms: int
    busy_s: Mapping[str, float] = {}  # of each polled bus: for how long it was used so far
    maintained: Collection[str] = ()  # devices that somebody works on: no alarm begins


class Judge(Protocol):
    """One rule with what it remembers."""

    def judge(self, view: GatewayView) -> bool | None:
        """Return whether the condition holds now; None: nothing new is known."""


class _Rule(Struct, frozen=True, kw_only=True, tag_field="when"):
    name: Name
    severity: Severity = "warning"
    #: For how long the condition must hold, and must not hold any more, before the state changes.
    delay_s: _Seconds = 0
    off_delay_s: _Seconds = 0
    text: _Text = ""


class _DeviceRule(_Rule, frozen=True, kw_only=True):
    device: Name

    @property
    def about(self) -> str:
        """The device."""
        return self.device


class _PointRule(_DeviceRule, frozen=True, kw_only=True):
    point: _PointName


class Above(_PointRule, frozen=True, kw_only=True, tag="above"):
    """A value above ``limit``; it must fall ``hysteresis`` below it to be normal again."""

    limit: _Limit
    hysteresis: _Width = 0

    def start(self) -> Judge:
        """Return what judges this rule from now on."""
        return _Threshold(self.device, self.point, self.limit, self.hysteresis, 1)


class Below(_PointRule, frozen=True, kw_only=True, tag="below"):
    """A value below ``limit``; it must rise ``hysteresis`` above it to be normal again."""

    limit: _Limit
    hysteresis: _Width = 0

    def start(self) -> Judge:
        """Return what judges this rule from now on."""
        return _Threshold(self.device, self.point, self.limit, self.hysteresis, -1)


class Changing(_PointRule, frozen=True, kw_only=True, tag="changing"):
    """A value that changes by more than ``per_minute`` on average over ``window_s``."""

    per_minute: _Width
    window_s: _Span = 60

    def start(self) -> Judge:
        """Return what judges this rule from now on."""
        return _Changing(self)


class Stuck(_PointRule, frozen=True, kw_only=True, tag="stuck"):
    """A value that stays within ``within`` of itself for ``for_s``, as no real quantity does."""

    for_s: _Span
    within: _Width = 0

    def start(self) -> Judge:
        """Return what judges this rule from now on."""
        return _Stuck(self)


class NoValue(_PointRule, frozen=True, kw_only=True, tag="no-value"):
    """A point without a value although its device answers: a sensor fault, a warm-up, a range."""

    def start(self) -> Judge:
        """Return what judges this rule from now on."""
        return _NoValue(self.device, self.point)


class Silent(_DeviceRule, frozen=True, kw_only=True, tag="silent"):
    """A device without a good answer for ``for_s``."""

    for_s: _Span

    def start(self) -> Judge:
        """Return what judges this rule from now on."""
        return _Silent(self.device, round(self.for_s * 1000))


class Gauge(_Rule, frozen=True, kw_only=True, tag="gauge"):
    """A figure of the gateway above or below a limit, one of the two (:func:`check_alarms`)."""

    gauge: GaugeName
    above: _Limit | None = None
    below: _Limit | None = None
    hysteresis: _Width = 0

    @property
    def about(self) -> str:
        """The gateway itself."""
        return "gateway"

    def start(self) -> Judge:
        """Return what judges this rule from now on."""
        return _GaugeThreshold(self)


class BusBusy(_Rule, frozen=True, kw_only=True, tag="bus-busy"):
    """A bus that is used for more than a share of the time, on average over ``window_s``."""

    bus: Name
    above: _Share
    window_s: _Span = 300

    @property
    def about(self) -> str:
        """The bus; no device has a name with a space."""
        return f"bus {self.bus}"

    def start(self) -> Judge:
        """Return what judges this rule from now on."""
        return _BusBusy(self)


AlarmRule: TypeAlias = Above | Below | Changing | Stuck | NoValue | Silent | Gauge | BusBusy


def check_alarms(reader: TableReader, devices: Sequence[str], buses: Sequence[str]) -> None:
    """Note what is wrong across the tables of alarms.

    ``devices``: the names of all devices, ``buses``: of all buses that are polled.

    Where a table is wrong already, a device may be missing for that reason, and is not looked for.
    """
    is_whole = not reader.problems
    names = ((f"{at}.name", rule.name) for at, rule in reader.built_of(_Rule))
    reader.unique(names, "a name no other alarm has")
    for at, gauge in reader.built_of(Gauge):
        if (gauge.above is None) == (gauge.below is None):
            got = None if gauge.above is None else f"{gauge.above} and {gauge.below}"
            reader.problem(f"{at}.above", got, "above or below", "write one of the two")
    if not is_whole:
        return
    for at, rule in reader.built_of(_DeviceRule):
        if rule.device not in devices:
            remedy = f"write one of {', '.join(sorted(devices)[:8])}"
            expected = "the name of a device of this file"
            reader.problem(f"{at}.device", rule.device, expected, remedy)
    for at, busy in reader.built_of(BusBusy):
        if busy.bus not in buses:
            remedy = f"write one of {', '.join(sorted(buses)[:8]) or 'none: no bus is polled'}"
            reader.problem(f"{at}.bus", busy.bus, "the name of a polled bus", remedy)


class _Band:
    """Whether a value is past a limit, with hysteresis; ``sign`` is 1 for above, -1 for below."""

    def __init__(self, limit: float, hysteresis: float, sign: int) -> None:
        self._limit, self._hysteresis, self._sign = limit, hysteresis, sign
        self._is_past = False

    def look(self, value: float) -> bool:
        beyond = self._sign * (value - self._limit)
        self._is_past = beyond > 0 or (self._is_past and beyond > -self._hysteresis)
        return self._is_past


class _Threshold:
    def __init__(self, device: str, point: str, limit: float, hysteresis: float, sign: int) -> None:
        self._device, self._point = device, point
        self._band = _Band(limit, hysteresis, sign)

    def judge(self, view: GatewayView) -> bool | None:
        value = _value(view, self._device, self._point)
        return None if value is None else self._band.look(value)


class _GaugeThreshold:
    def __init__(self, rule: Gauge) -> None:
        self._name = rule.gauge
        limit = rule.above if rule.above is not None else rule.below
        assert limit is not None, "check_alarms has refused it"
        self._band = _Band(limit, rule.hysteresis, 1 if rule.above is not None else -1)

    def judge(self, view: GatewayView) -> bool | None:
        value = view.gauges.get(self._name)
        return None if value is None else self._band.look(value)


class _Slope:
    """By how much a figure changes on average over a window."""

    def __init__(self, window_s: float) -> None:
        self._window_ms = window_s * 1000
        self._seen: deque[tuple[int, float]] = deque(maxlen=_MAX_SEEN)

    def per_s(self, value: float, now_ms: int) -> float | None:
        """Return the change in a second; None: it was not seen for a whole window yet."""
        seen, window_ms = self._seen, self._window_ms
        if not seen or now_ms - seen[-1][0] >= window_ms / _MAX_SEEN:
            seen.append((now_ms, value))
        while len(seen) > 2 and now_ms - seen[1][0] >= window_ms:
            seen.popleft()
        first_ms, first = seen[0]
        if now_ms - first_ms < window_ms:
            return None
        return (value - first) * 1000 / (now_ms - first_ms)


class _Changing:
    def __init__(self, rule: Changing) -> None:
        self._rule = rule
        self._slope = _Slope(rule.window_s)

    def judge(self, view: GatewayView) -> bool | None:
        rule = self._rule
        value = _value(view, rule.device, rule.point)
        slope = None if value is None else self._slope.per_s(value, view.now_ms)
        return None if slope is None else abs(slope) * 60 > rule.per_minute


class _BusBusy:
    def __init__(self, rule: BusBusy) -> None:
        self._rule = rule
        self._slope = _Slope(rule.window_s)

    def judge(self, view: GatewayView) -> bool | None:
        busy_s = view.busy_s.get(self._rule.bus)
        share = None if busy_s is None else self._slope.per_s(busy_s, view.now_ms)
        return None if share is None else share > self._rule.above


class _Stuck:
    def __init__(self, rule: Stuck) -> None:
        self._rule = rule
        self._since_ms = 0
        self._value: float | None = None
        self._is_known = False  # it has moved, or was watched for long enough

    def judge(self, view: GatewayView) -> bool | None:
        rule = self._rule
        value = _value(view, rule.device, rule.point)
        if value is None:
            self._value = None
            return None
        has_moved = self._value is not None and abs(value - self._value) > rule.within
        if self._value is None or has_moved:
            self._value, self._since_ms = value, view.now_ms
        is_stuck = view.now_ms - self._since_ms >= rule.for_s * 1000
        self._is_known |= has_moved or is_stuck
        return is_stuck if self._is_known else None


class _NoValue:
    def __init__(self, device: str, point: str) -> None:
        self._device, self._point = device, point

    def judge(self, view: GatewayView) -> bool | None:
        device = view.devices.get(self._device)
        if device is None or self._point not in device.values:
            return None
        return device.values[self._point] is None


class _Silent:
    def __init__(self, device: str, for_ms: int) -> None:
        self._device, self._for_ms = device, for_ms
        self._since_ms: int | None = None  # since when it was seen without any answer

    def judge(self, view: GatewayView) -> bool | None:
        device = view.devices.get(self._device)
        if device is None:
            return None
        if device.age_ms is not None:
            self._since_ms = None
            return device.age_ms >= self._for_ms
        if self._since_ms is None:
            self._since_ms = view.now_ms
        # Until then it is new, or nobody has waited for it since a restart: nothing is known.
        return view.now_ms - self._since_ms >= self._for_ms or None


def _value(view: GatewayView, device: str, point: str) -> float | None:
    found = view.devices.get(device)
    return None if found is None else found.values.get(point)
