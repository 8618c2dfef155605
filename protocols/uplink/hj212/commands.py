"""The commands and answers of HJ 212 with their names in English and Chinese.

Those of 2017 are tables 5 to 7 of HJ 212-2017; ``since`` 2 marks those of HJ 212-2025 (from
implementations, not from the text), 0 those seen in implementations only.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CommandName:
    """One command number."""

    english: str
    chinese: str
    since: int = 1


COMMANDS: Final[dict[str, CommandName]] = {
    "1000": CommandName("set timeout and resends", "设置超时时间及重发次数"),
    "1001": CommandName("hardware of the logger", "上传数采仪硬件信息", 2),
    "1002": CommandName("set MN", "设置设备唯一标识", 2),
    "1011": CommandName("time of the device", "提取现场机时间"),
    "1012": CommandName("set the time", "设置现场机时间"),
    "1013": CommandName("device asks for the time", "现场机时间校准请求"),
    "1014": CommandName("change of the SM4 key", "密钥更新", 2),
    "1061": CommandName("real-time interval", "提取实时数据间隔"),
    "1062": CommandName("set the real-time interval", "设置实时数据间隔"),
    "1063": CommandName("minute interval", "提取分钟数据间隔"),
    "1064": CommandName("set the minute interval", "设置分钟数据间隔"),
    "1072": CommandName("set the password", "设置现场机密码"),
    "2011": CommandName("real-time data", "污染物实时数据"),
    "2012": CommandName("stop real-time data", "停止察看实时数据"),
    "2013": CommandName("raw periodic data", "原始周期数据", 2),
    "2021": CommandName("state of equipment", "设备运行状态数据"),
    "2022": CommandName("stop state of equipment", "停止察看设备运行状态"),
    "2031": CommandName("day data", "污染物日历史数据"),
    "2041": CommandName("run time of equipment, day", "设备运行时间日历史数据"),
    "2051": CommandName("minute data", "污染物分钟数据"),
    "2052": CommandName("one noise measurement", "单次噪声监测数据", 2),
    "2061": CommandName("hour data", "污染物小时数据"),
    "2062": CommandName("automatic check with a standard", "自动标样核查数据", 2),
    "2081": CommandName("start of the logger", "数采仪开机时间"),
    "2111": CommandName("furnace, mean of 5 minutes", "炉温5分钟均值", 2),
    "3011": CommandName("calibrate zero and span", "零点校准量程校准"),
    "3012": CommandName("sample now", "即时采样"),
    "3013": CommandName("wash or blow back", "启动清洗/反吹"),
    "3014": CommandName("comparison sample", "比对采样"),
    "3015": CommandName("retained sample", "超标留样"),
    "3016": CommandName("set the sampling period", "设置采样时间周期"),
    "3017": CommandName("sampling period", "提取采样时间周期"),
    "3018": CommandName("time until a sample is out", "提取出样时间"),
    "3019": CommandName("unique id of an instrument", "提取设备唯一标识"),
    "3020": CommandName("information of the site", "提取现场机信息"),
    "3021": CommandName("set a parameter of the site", "设置现场机参数"),
    "3022": CommandName("retain a sample now", "即时留样", 2),
    "3024": CommandName("start a check with a standard", "启动标样核查", 2),
    "9011": CommandName("answer to a request", "请求应答"),
    "9012": CommandName("result of a request", "执行结果"),
    "9013": CommandName("answer to a notice", "通知应答"),
    "9014": CommandName("answer to data", "数据应答"),
    "9015": CommandName("heartbeat", "心跳", 2),
    "9021": CommandName("login", "登录", 0),
}

# HJ 212-2017 tables 5 to 9: ST, what is monitored.
SYSTEMS: Final[dict[str, tuple[str, str]]] = {
    "21": ("surface water quality", "地表水质量监测"),
    "22": ("air quality", "空气质量监测"),
    "23": ("sound environment", "声环境质量监测"),
    "24": ("groundwater", "地下水质量监测"),
    "25": ("soil", "土壤质量监测"),
    "26": ("sea water", "海水质量监测"),
    "27": ("volatile organic compounds", "挥发性有机物监测"),
    "31": ("source of air pollution", "大气环境污染源"),
    "32": ("source of surface water pollution", "地表水体环境污染源"),
    "39": ("dust of building sites", "工地扬尘污染源"),
    "91": ("interaction", "系统交互"),
}
# HJ 212-2017 tables 5 to 9: the flag of a value.
DATA_FLAGS: Final[dict[str, tuple[str, str]]] = {
    "N": ("normal", "正常"),
    "F": ("stopped", "停运"),
    "M": ("maintenance", "维护"),
    "S": ("set by hand", "手工输入"),
    "D": ("instrument fault", "故障"),
    "C": ("calibrating", "校准"),
    "T": ("outside the range", "超上限"),
    "B": ("no communication", "通讯异常"),
}

QN_READY: Final = 1
QN_REFUSED: Final = 2
QN_PASSWORD: Final = 3
QN_MN: Final = 4
QN_ST: Final = 5
QN_FLAG: Final = 6
QN_QN: Final = 7
QN_CN: Final = 8
QN_CRC: Final = 9
QN_UNKNOWN: Final = 100
# HJ 212-2017 tables 5 to 9: what 9011 answers.
QN_RETURNS: Final[dict[int, tuple[str, str]]] = {
    QN_READY: ("ready to execute", "准备执行请求"),
    QN_REFUSED: ("refused", "请求被拒绝"),
    QN_PASSWORD: ("PW is wrong", "PW错误"),
    QN_MN: ("MN is wrong", "MN错误"),
    QN_ST: ("ST is wrong", "ST错误"),
    QN_FLAG: ("Flag is wrong", "Flag错误"),
    QN_QN: ("QN is wrong", "QN错误"),
    QN_CN: ("CN is wrong", "CN错误"),
    QN_CRC: ("the checksum is wrong", "CRC校验错误"),
    QN_UNKNOWN: ("unknown error", "未知错误"),
}

EXE_DONE: Final = 1
EXE_FAILED: Final = 2
EXE_CONDITION: Final = 3
EXE_TIMEOUT: Final = 4
EXE_BUSY: Final = 5
EXE_FAULT: Final = 6
EXE_NO_DATA: Final = 100
# HJ 212-2017 tables 5 to 9: what 9012 answers.
EXE_RETURNS: Final[dict[int, tuple[str, str]]] = {
    EXE_DONE: ("done", "执行成功"),
    EXE_FAILED: ("failed, reason unknown", "执行失败但不知道原因"),
    EXE_CONDITION: ("a condition is wrong", "命令请求条件错误"),
    EXE_TIMEOUT: ("timed out", "通讯超时"),
    EXE_BUSY: ("busy", "系统繁忙不能执行"),
    EXE_FAULT: ("system fault", "系统故障"),
    EXE_NO_DATA: ("no data", "没有数据"),
}
