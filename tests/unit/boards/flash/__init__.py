"""Flash jobs against the bench's model of the ROM bootloader."""
