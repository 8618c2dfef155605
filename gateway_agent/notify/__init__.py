"""Notices of alarms to people and programs outside: MQTT, webhook and mail."""
