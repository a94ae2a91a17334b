"""Devices by name."""
