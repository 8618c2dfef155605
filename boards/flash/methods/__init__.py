"""The ways in which a board is flashed, each a file with one :class:`FlashMethod`."""
