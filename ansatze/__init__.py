"""Ansatze."""
