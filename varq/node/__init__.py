"""Circuits on devices: the only room that builds PennyLane tapes and runs them."""
