"""Commands of people and platforms to devices: checked, carried out between polls, recorded."""
