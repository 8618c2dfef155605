"""The board image for STM32F405/407: its MicroPython port and what of it is Python."""
