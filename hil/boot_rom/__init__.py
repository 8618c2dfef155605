"""A board in its ROM bootloader: what a flash job finds at the other end of a serial cable."""
