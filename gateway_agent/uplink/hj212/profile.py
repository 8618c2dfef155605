"""A profile is what one platform wants of HJ 212, as a file: no program changes for a new platform.

What the keys mean stands beside each; what is not said is as HJ 212-2017
has it (tables 2 to 9). Shipped profiles
are in ``profiles/``; a name with a dot or a slash is a file of the user.
"""

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

import msgspec

from gateway_agent.errors import OperatorError
from protocols.exit_status import UNUSABLE
from protocols.setting_units import setting_unit
from protocols.uplink.hj212 import (
    COMMANDS,
    ChecksumKind,
    Hj212Dialect,
    Hj212Options,
    Hj212Settings,
    QnForm,
)
from protocols.wire.errors import LocalError

from .codes import CODES, JUDGED, PollutantCode

_SHIPPED: Final = files("gateway_agent.uplink.hj212") / "profiles"


class Hj212ProfileError(OperatorError):
    """A profile, or what is used with it, cannot be used."""

    exit_status = UNUSABLE


class CodeChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What this platform agreed on for one code."""

    unit: str = ""  # as in the table if empty
    digits: int = -1  # as in the table if negative
    name: str = ""  # what stands on the wire in place of the code


class IndexCodes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What this platform calls the indices in its hour and day data; empty: it takes none."""

    edition: Literal["2026", "2012"] = "2026"  # of HJ 633, table 1
    aqi: str = ""
    primary: str = ""  # its value: codes with | between them, - where no index is above 50
    water_class: str = ""  # by GB 3838-2002 table 1: 1 to 5 are I to V, 6 is worse
    iaqi: dict[str, str] = {}  # by code of the pollutant
    mean_8h: dict[str, str] = {}  # rolling means, in hour data
    mean_24h: dict[str, str] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether the platform takes any index."""
        return bool(self.names)

    @property
    def names(self) -> list[str]:
        """Return every name on the wire."""
        one = (self.aqi, self.primary, self.water_class)
        more = (*self.iaqi.values(), *self.mean_8h.values(), *self.mean_24h.values())
        return [name for name in (*one, *more) if name]

    @property
    def hour_reach(self) -> int:
        """Return how many hours of data one hour's mean is in."""
        return 24 if self.mean_24h else 8 if self.mean_8h else 1


class ParameterOfNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a platform may set with 3021: a setting of the node that measures PolId."""

    setting: str  # as `tianfu-gateway command set` has it
    unit: str = ""  # of the number that the platform sends


class Hj212Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One platform's HJ 212."""

    title: str
    title_zh: str
    sources: tuple[str, ...]
    version: Literal[0, 1, 2] = 1  # of Flag: 0 is 2005, 1 is 2017, 2 is 2025
    st: str = "22"
    answer_st: str = "91"
    checksum: Literal["hj", "modbus"] = "hj"
    lower_case: bool = False
    encoding: Literal["utf-8", "gbk"] = "utf-8"
    terminator: Literal["crlf", "none"] = "crlf"
    qn: Literal["time", "unix-ms", "absent"] = "time"
    data_time_digits: Literal[14, 17] = 14
    mn: str = "[0-9A-Za-z]{14,24}"  # which MN the platform gives out
    ack_flag: bool = True  # bit A of Flag in what we send
    awaits_ack: bool = True  # whether the platform answers
    login: str = ""  # CN of a login that comes before everything
    on_connect: tuple[str, ...] = ("2081",)
    heartbeat_s: int = 0
    over_time_s: int = 10
    re_count: int = 3
    window: int = 1
    splits_with_numbers: bool = True
    marks_backfill: bool = False
    encryption: Literal["none", "sm4"] = "none"
    # 2021 and 2041 where points are named SB1 to SB16, the others where points are pollutants.
    sends: tuple[str, ...] = ("2011", "2021", "2051", "2061", "2031", "2041")
    flags: Literal["always", "never", "abnormal"] = "always"
    kelvin: float = 298.15  # what gases are stated at
    codes: dict[str, CodeChange] = {}
    index: IndexCodes = IndexCodes()
    parameters: dict[str, ParameterOfNode] = {}  # by InfoId

    def gives_out(self, mn: str) -> bool:
        """Whether the platform can have given out this MN."""
        return re.fullmatch(self.mn, mn) is not None

    @property
    def is_encrypted(self) -> bool:
        """Whether the platform wants its fields encrypted with an SM4 key."""
        return self.encryption == "sm4"

    def options(self, mn: str, st: str = "", *, allow_control: bool = False) -> Hj212Options:
        """Return the device's options; Hj212ProfileError if the platform gives out no such MN."""
        if not self.gives_out(mn):
            raise Hj212ProfileError(f"mn {mn!r}: this profile expects {self.mn}")
        return Hj212Options(
            mn=mn,
            st=st or self.st,
            version=self.version,
            dialect=Hj212Dialect(
                ChecksumKind(self.checksum),
                self.lower_case,
                self.encoding,
                b"\r\n" if self.terminator == "crlf" else b"",
                QnForm(self.qn),
            ),
            answer_st=self.answer_st,
            sets_ack_flag=self.ack_flag,
            awaits_ack=self.awaits_ack,
            window=self.window,
            login_cn=self.login,
            on_connect=tuple(self.on_connect),
            heartbeat_s=self.heartbeat_s,
            splits_with_numbers=self.splits_with_numbers,
            marks_backfill=self.marks_backfill,
            data_time_digits=self.data_time_digits,
            allow_control=allow_control,
        )

    def settings(self, pw: str, key: bytes = b"") -> Hj212Settings:
        """Return the settings to begin with; Hj212ProfileError if a key is missing or too many."""
        if bool(key) != self.is_encrypted:
            needs = "an SM4 key" if self.is_encrypted else "no key"
            raise Hj212ProfileError(f"this profile needs {needs}")
        try:
            return Hj212Settings(
                self.over_time_s,
                self.re_count,
                status_on="2021" in self.sends,
                pw=pw,
                key=key,
            ).checked()
        except LocalError as error:
            raise Hj212ProfileError(f"{error.message}: {error}") from error

    def code(self, code: str) -> PollutantCode:
        """Return the code as this platform wants it."""
        row = CODES[code]
        change = self.codes.get(code)
        if change is None:
            return row
        return PollutantCode(
            row.code,
            row.english,
            row.chinese,
            change.unit or row.unit,
            row.digits if change.digits < 0 else change.digits,
            row.source,
            row.molar_mass,
            row.has_total,
        )

    def wire_name(self, code: str) -> str:
        """Return what stands on the wire for a code."""
        change = self.codes.get(code)
        return change.name if change is not None and change.name else code


def shipped() -> list[str]:
    """Return the names of the profiles that come with the product."""
    names = (entry.name for entry in _SHIPPED.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_hj212_profile(name: str) -> Hj212Profile:
    """Read a shipped profile or a file; Hj212ProfileError names what is wrong."""
    if "." in name or "/" in name:
        where, data = name, _read(Path(name))
    elif name in shipped():
        where, data = f"profile {name}", (_SHIPPED / f"{name}.toml").read_bytes()
    else:
        raise Hj212ProfileError(
            f"profile {name!r}: expected a file or one of {', '.join(shipped())}"
        )
    return read_hj212_profile(where, data)


def read_hj212_profile(where: str, data: bytes) -> Hj212Profile:
    """Read the bytes of a profile; Hj212ProfileError names what is wrong, and ``where``."""
    try:
        profile = msgspec.convert(tomllib.loads(data.decode()), Hj212Profile)
        re.compile(profile.mn)
    except (
        tomllib.TOMLDecodeError,
        RecursionError,  # tables within tables within tables
        UnicodeDecodeError,
        msgspec.ValidationError,
        re.error,
    ) as error:
        raise Hj212ProfileError(f"{where}: {error}") from error
    unknown = [cn for cn in (*profile.sends, *profile.on_connect) if cn not in COMMANDS]
    unknown += [code for code in profile.codes if code not in CODES]
    unknown += [
        code for code in (*profile.index.mean_8h, *profile.index.mean_24h) if code not in CODES
    ]
    unknown += [
        parameter.setting
        for parameter in profile.parameters.values()
        if setting_unit(parameter.setting) is None
    ]
    unknown += [code for code in profile.index.iaqi if code not in JUDGED]
    if unknown:
        raise Hj212ProfileError(f"{where}: unknown {', '.join(unknown)}")
    if profile.index.is_wanted and "2061" not in profile.sends:
        raise Hj212ProfileError(f"{where}: [index] needs hour data, 2061, in sends")
    return profile


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Hj212ProfileError(f"{path}: {error.strerror}") from error
