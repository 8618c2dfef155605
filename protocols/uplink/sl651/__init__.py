"""SL 651-2014, the protocol of hydrological stations: frames, reports and the station's side.

Bytes in, events out; time enters as an argument. What is said of the standard here was read in its
approval draft (报批稿) and in frames of implementations; where a name or a rule comes from
implementations alone the place says so.
"""

from .elements import (
    BCD,
    ELEMENTS,
    Element,
    ElementGroup,
    element_value,
    number_group,
    read_groups,
    write_group,
)
from .frame import FRAME_BYTES, MAX_BODY_BYTES, Sl651Frame, Sl651Reader, encode_frame
from .questions import (
    CHANGING_FUNCTIONS,
    MAX_SERIES,
    PeriodQuestion,
    StationCount,
    StationFunction,
    StationParameter,
    events_body,
    parameter,
    parameters_body,
    picture_body,
    read_identifiers,
    read_period_question,
    read_sampling,
    series_groups,
    state_body,
    version_body,
)
from .report import STATION_CLASSES, Observation, StationReport, read_report, write_report
from .station import Station, StationSettings

__all__ = [
    "BCD",
    "CHANGING_FUNCTIONS",
    "ELEMENTS",
    "FRAME_BYTES",
    "MAX_BODY_BYTES",
    "MAX_SERIES",
    "STATION_CLASSES",
    "Element",
    "ElementGroup",
    "Observation",
    "PeriodQuestion",
    "Sl651Frame",
    "Sl651Reader",
    "Station",
    "StationCount",
    "StationFunction",
    "StationParameter",
    "StationReport",
    "StationSettings",
    "element_value",
    "encode_frame",
    "events_body",
    "number_group",
    "parameter",
    "parameters_body",
    "picture_body",
    "read_groups",
    "read_identifiers",
    "read_period_question",
    "read_report",
    "read_sampling",
    "series_groups",
    "state_body",
    "version_body",
    "write_group",
    "write_report",
]
