"""ESP32, a stock MicroPython board."""
