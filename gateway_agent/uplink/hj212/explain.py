"""A frame in words, in English and Chinese, for who stands beside the cabinet."""

import re
from collections.abc import Iterator
from typing import Final

from protocols.text_of_others import printable
from protocols.uplink.hj212 import (
    COMMANDS,
    DATA_FLAGS,
    EXE_RETURNS,
    QN_RETURNS,
    SYSTEMS,
    Hj212Message,
)

from .codes import CODES, RUNNING_STATES
from .profile import Hj212Profile

_VERSIONS: Final = {0: "2005", 1: "2017", 2: "2025"}
_FIELD: Final = re.compile(r"(\w+)-(Rtd|Min|Avg|Max|Cou|Flag|ZsRtd|ZsMin|ZsAvg|ZsMax|Data|RS|RT)")
_PARTS: Final = {
    "Rtd": "now 实时",
    "Min": "least 最小",
    "Avg": "mean 平均",
    "Max": "greatest 最大",
    "Cou": "total 累计",
    "Data": "value 数据",
    "RT": "hours run 运行小时",
}
_NAMES: Final = {
    "DataTime": "time of the data 数据时间",
    "RestartTime": "time of the start 开机时间",
    "SystemTime": "clock 系统时间",
    "BeginTime": "from 开始时间",
    "EndTime": "to 截止时间",
    "RtdInterval": "real-time interval, s 实时间隔",
    "MinInterval": "minute interval, min 分钟间隔",
    "OverTime": "timeout, s 超时时间",
    "ReCount": "resends 重发次数",
    "PolId": "factor 污染物",
    "InfoId": "information 信息编码",
}
_SECRET: Final = frozenset(("NewPW", "NewSK", "PW"))


def headline(message: Hj212Message) -> str:
    """Return the command, who it is about and what its Flag says."""
    command = COMMANDS.get(message.cn)
    named = f"{command.english} {command.chinese}" if command else "unknown command 未知命令"
    system = SYSTEMS.get(message.st, ("unknown", "未知"))
    parts = [f"CN={message.cn} {named}", f"ST={message.st} {' '.join(system)}"]
    parts.append(f"QN={message.qn}" if message.qn else "no QN 无QN")
    if message.flag is None:
        parts.append("no Flag 无标志")
    else:
        version = _VERSIONS.get(message.flag >> 2, "?")
        wants = "answer wanted 需应答" if message.wants_ack else "no answer 不应答"
        parts.append(f"Flag={message.flag} {version}, {wants}")
    if message.pnum is not None:
        parts.append(f"part 包 {message.pno}/{message.pnum}")
    if message.is_backfill:
        parts.append("RF=1 back-fill 补传")
    return printable("; ".join(parts))


def lines(message: Hj212Message, profile: Hj212Profile) -> Iterator[str]:
    """Yield a line for each item of the body."""
    codes = {profile.wire_name(code): profile.code(code) for code in CODES}
    for item in message.body:
        shown = []
        known = ""
        for name, value in item:
            field = _FIELD.fullmatch(name)
            code = codes.get(field[1]) if field is not None else None
            if field is not None and not known:
                named = f"{code.code} {code.english} {code.chinese}" if code else field[1]
                known = f"{named}: "
            shown.append(_value(name, value, code.unit if code else ""))
        yield printable(known + ", ".join(shown))


def _value(name: str, value: str, unit: str) -> str:
    if name in _SECRET:
        return f"{name}=***"
    if name in ("QnRtn", "ExeRtn"):
        table = QN_RETURNS if name == "QnRtn" else EXE_RETURNS
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 4 else -1
        return f"{name}={value} {' '.join(table.get(number, ('not in the standard', '非标准')))}"
    field = _FIELD.fullmatch(name)
    if field is not None and field[2] == "RS":
        state = int(value) if value in ("0", "1", "2", "3", "4", "5") else -1
        return f"{value} {' '.join(RUNNING_STATES.get(state, ('not in the standard', '非标准')))}"
    if field is not None and field[2] == "Flag":
        return f"{value} {' '.join(DATA_FLAGS.get(value, ('not in the standard', '非标准')))}"
    if field is not None:
        return f"{_PARTS.get(field[2], field[2])} {value} {unit}".rstrip()
    return f"{name}={value} {_NAMES.get(name, '')}".rstrip()
