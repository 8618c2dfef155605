"""Flashing boards: the chip's ROM bootloader, and the job that ends with a proven node."""
