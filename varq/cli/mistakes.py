"""What a person got wrong, told apart from what varq got wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from varq.store.faults import StoreError

__all__ = ["InputError", "asked"]

_KINDS = (ValueError, TypeError, LookupError, OSError, ImportError, StoreError)


class InputError(Exception):
    """Something that the person at the terminal can put right: shown as a message, with exit status 2."""


@contextmanager
def asked(where: str = "") -> Iterator[None]:
    """Makes a `InputError` of any error that wrong input causes, with the place it came from in front.

    Use it around what only interprets input: errors of the same kinds further down are faults of the program.
    """
    try:
        yield
    except _KINDS as error:
        said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        raise InputError(f"{where}: {said}" if where else said) from error
