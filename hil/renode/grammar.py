"""The Monitor commands that the bench may send, as patterns, each with its name.

The stand-in for Renode refuses whatever does not match one of them.
"""

from __future__ import annotations

from typing import Final

_P: Final = r"@((?:\\ |[^\s;])+)"
_DEVICE: Final = r'"(\w+): Tianfu\.(\w+) @ (\w+) (0x[0-9A-F]+)"'
GRAMMAR: Final = (
    ("version", "version"),
    (f"include {_P}", "include"),
    (r'mach create "(\w+)"', "create"),
    (f"machine LoadPlatformDescription {_P}", "platform"),
    (f"machine LoadPlatformDescriptionFromString {_DEVICE}", "device"),
    (r"machine UnregisterFromParent (sysbus[.\w]+)", "unregister"),
    (f"sysbus LoadELF {_P}", "elf"),
    (f"sysbus LoadBinary {_P} (0x[0-9A-F]+)", "load"),
    (r"sysbus WriteDoubleWord 0x[0-9A-F]+ 0x[0-9A-F]+", "nothing"),
    (r"sysbus\.gpioPort[A-K] OnGPIO \d+ (?:true|false)", "nothing"),
    (r"sysbus\.adc1 FeedSample \d+ \d+ -1", "nothing"),
    (r"sysbus\.flash ResetByte 0xFF", "nothing"),
    (r"sysbus\.flash ZeroAll", "erase"),
    (r"sysbus\.sram ZeroAll", "nothing"),
    (f"sysbus.flash DumpBinary {_P}", "dump"),
    (r'macro reset """(.+)"""', "macro"),
    (r"runMacro \$reset", "run_macro"),
    (r'emulation CreateLinePort "(\w+)" "(/[^"]+)"', "port"),
    (r"connector Connect (sysbus\.\w+) (\w+)", "connect"),
    (r'emulation SetGlobalQuantum "(\d+(?:\.\d+)?)"', "quantum"),
    (r"emulation SetGlobalSerialExecution true", "serial"),
    (r"emulation SetGlobalAdvanceImmediately (true|false)", "ahead"),
    (r"emulation SetSeed \d+", "nothing"),
    (r'emulation RunFor "(\d+\.\d+)"', "run_for"),
    (r"start", "start"),
    (r"pause", "pause"),
    (r"machine Reset", "reset"),
    (r"machine ElapsedVirtualTime", "time"),
    (r"cpu ExecutedInstructions", "instructions"),
    (r"cpu IsHalted (true|false)", "halted"),
    (r"logLevel 3 sysbus\.flash_controller", "nothing"),
    (r'sysbus SetHookAfterPeripheralRead sysbus\.rcc "[^"]*"', "nothing"),
    (r"sysbus\.watch (Attach|Restore|ExpectPin|ExpectPowerOn|Cut|Operations|Uptime)", "watch"),
    (r"sysbus\.watch (Operations|CutAt|MillisecondsAt) (\d+)", "watch"),
    (r"(sysbus\.i2c1\.sht) (Temperature|Humidity) (\d+\.\d+)", "property"),
    (r"(sysbus\.i2c1\.sht) (BadChecksum|Silent|Garbage|Saturated) (true|false)", "property"),
    (r"(sysbus\.i2c1) (Reset)", "property"),
    (r"(sysbus\.usart2) (CharacterReceptionDelay)", "property"),
)
