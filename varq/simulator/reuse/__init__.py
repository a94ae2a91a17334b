"""Fewer wires for the same law: a finished wire is measured, reset, and used again by one that has not begun."""
