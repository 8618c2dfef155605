"""SL 651 and SL 427: frames of other implementations, and a station against scripted centres."""
