"""Values by content: equal if they say the same, and such that nobody can change what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from varq import spec

__all__ = ["ByContent", "ReadOnly", "Unchanging", "unchanging"]


class ByContent:
    """Two such specs are equal if they have one identity; one that holds an opaque object equals only itself."""

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(self) is type(other) and spec.identity(self) == spec.identity(other)

    def __hash__(self) -> int:
        identity, findable = spec.identity(self)
        return hash(identity) if findable else object.__hash__(self)


class ReadOnly(dict[str, Any]):
    """A dictionary that nobody changes; it can be copied, pickled and written as JSON like any other.

    Example:
        >>> ReadOnly(cut=4)["cut"]
        4
        >>> ReadOnly(cut=4)["cut"] = 5
        Traceback (most recent call last):
            ...
        TypeError: What a result holds stays as it is. Change a copy: dict(result.details).
    """

    def _refuse(self, *given: Any, **named: Any) -> NoReturn:
        raise TypeError("What a result holds stays as it is. Change a copy: dict(result.details).")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return ReadOnly, (dict(self),)  # as it would be pickled else, entries are set one by one

    def copy(self) -> dict[str, Any]:
        """A dictionary that may be changed."""
        return dict(self)


class Unchanging(ByContent):
    """A value by content that goes from process to process; what is no field of it stays behind."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update({name: unchanging(value) for name, value in state.items()})


def unchanging(value: Any) -> Any:
    """The same content, in arrays, dictionaries and tuples that nobody can change; everything else as it is.

    Example:
        >>> unchanging({"levels": [np.zeros(2)]})["levels"][0].flags.writeable
        False
    """
    if isinstance(value, np.ndarray):
        if not value.flags.writeable:
            return value
        value = value.copy()
        value.flags.writeable = False
        return value
    if isinstance(value, Mapping):
        return ReadOnly({name: unchanging(entry) for name, entry in value.items()})
    if type(value) in (list, tuple):
        return tuple(unchanging(entry) for entry in value)
    return value
