# ruff: noqa: N999 - a library of Robot Framework is called as its class
"""Renode's keywords without a body, for `robot --dryrun`: names, arguments, their order, defaults.

They are those of the robot server of Renode 1.16.1; newer versions add some. A default of None
means what the tester or the server is set to.
"""

from __future__ import annotations

from typing import Final

_CPU: Final = "machine=None cpuName=None"
_LED: Final = "testerId=None pauseEmulation=False"
_LOG: Final = "timeout=None keep=False treatAsRegex=False pauseEmulation=None level=None"
_FAILING: Final = "pattern treatAsRegex=False"
_WAIT: Final = "timeout=None testerId=None treatAsRegex=False"

#: Arguments by keyword, in order.
KEYWORDS: Final = {
    # Emulation and Monitor
    "Execute Command": "command machine=None",
    "Execute Python": "command machine=None",
    "Execute Script": "path",
    "Start Emulation": "",
    "Reset Emulation": "",
    "Wait For Pause": "timeout",
    "Wait For Gdb Connection": "port machine=None pauseToWait=True acceptRunningServer=True",
    "Provides": "state type=Serialization",
    "Requires": "state",
    "Handle Hot Spot": "action",
    "Stop Remote Server": "",
    "Open GUI": "",
    "Close GUI": "",
    "Allocate Temporary File": "",
    "Download File": "uri",
    # UARTs
    "Create Terminal Tester": "uart timeout=None machine=None endLineOption=None "
    "defaultPauseEmulation=None defaultWaitForEcho=None defaultMatchNextLine=None binaryMode=False",
    "Set Default Uart Timeout": "timeout",
    "Set Default Tester": "id",
    "Get Terminal Tester Report": "testerId=None",
    "Clear Terminal Tester Report": "testerId=None",
    "Register Failing Uart String": f"{_FAILING} testerId=None",
    "Unregister Failing Uart String": f"{_FAILING} testerId=None",
    "Wait For Prompt On Uart": "prompt testerId=None timeout=None treatAsRegex=False "
    "pauseEmulation=None",
    "Wait For Line On Uart": f"content {_WAIT} includeUnfinishedLine=False pauseEmulation=None "
    "matchNextLine=None",
    "Wait For Lines On Uart": f"content {_WAIT} includeUnfinishedLine=False pauseEmulation=None "
    "matchFromNextLine=None",
    "Wait For Bytes On Uart": f"content {_WAIT} pauseEmulation=None matchStart=False",
    "Wait For Next Line On Uart": "timeout=None testerId=None pauseEmulation=None",
    "Should Not Be On Uart": f"content {_WAIT} includeUnfinishedLine=False",
    "Send Key To Uart": "c testerId=None",
    "Write Char On Uart": "c testerId=None",
    "Write To Uart": "content testerId=None",
    "Write Line To Uart": "content= testerId=None waitForEcho=None pauseEmulation=None",
    "Write Char Delay": "delay testerId=None",
    "Test If Uart Is Idle": "timeout testerId=None pauseEmulation=None",
    # Log
    "Create Log Tester": "timeout defaultPauseEmulation=None",
    "Wait For Log Entry": f"pattern {_LOG}",
    "Should Not Be In Log": "pattern timeout=None treatAsRegex=False pauseEmulation=None "
    "level=None",
    "Register Failing Log String": _FAILING,
    "Unregister Failing Log String": _FAILING,
    "Clear Log Tester History": "",
    "Log To File": "filePath flushAfterEveryWrite=False",
    "Enable Logging To Cache": "",
    "Save Cached Log": "filePath",
    "Clear Cached Log": "",
    # LEDs, cores, networks
    "Create Led Tester": "led defaultTimeout=None machine=None",
    "Set Default Led Timeout": "timeout",
    "Assert Led State": f"state timeout=None {_LED}",
    "Assert And Hold Led State": f"initialState timeoutAssert timeoutHold {_LED}",
    "Assert Led Is Blinking": f"testDuration onDuration offDuration tolerance=0.05 {_LED}",
    "Assert Led Duty Cycle": f"testDuration expectedDutyCycle tolerance=0.05 {_LED}",
    "Pc Should Be Equal": f"value {_CPU}",
    "Register Should Be Equal": f"register value {_CPU} message=None",
    "Run Until Breakpoint": f"timeout {_CPU} address=None",
    "Create Network Interface Tester": "networkInterface machine=None",
    "Send Frame": "bytes testerId=None",
    "Wait For Outgoing Packet": "timeout testerId=None",
    "Wait For Outgoing Packet With Bytes At Index": "bytes index maxPackets timeout testerId=None",
}


class RenodeKeywords:
    """A library that names its keywords itself."""

    ROBOT_LIBRARY_SCOPE = "GLOBAL"

    def get_keyword_names(self) -> list[str]:
        """As Robot Framework asks a library for them."""
        return list(KEYWORDS)

    def get_keyword_arguments(self, name: str) -> list[str]:
        """In order. What has a default must be given by its name: Robot Framework takes a misspelt
        name for one more value, which Renode refuses.
        """
        words = KEYWORDS[name].split()
        optional = [word for word in words if "=" in word]
        required = words[: len(words) - len(optional)]
        return [*required, "*", *optional] if optional else required

    def run_keyword(self, name: str, _arguments: list[object], _named: dict[str, object]) -> None:
        """Nothing is emulated here."""
        raise NotImplementedError(f"{name}: expected `robot --dryrun`, or renode-test")
