"""Drivers of the sensor parts: one module each, bus injected, no globals, datasheet cited.

Every driver is two layers. A *parser* or *decode* function is pure: bytes in, values or an error
code out, nothing allocated once it stands. A small asyncio *front* reads the injected bus with a
deadline and gives each reading one of the quality codes of ``protocols.wire.registers``.
"""
