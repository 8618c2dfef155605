"""STM32F4 Discovery, a stock MicroPython board."""
