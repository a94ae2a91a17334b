"""Circuits that conserve particle numbers, run on the basis states that they reach."""
