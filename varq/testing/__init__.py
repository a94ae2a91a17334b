"""Tools for testing runs: killing them where it hurts."""
