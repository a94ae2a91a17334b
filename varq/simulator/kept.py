"""Results of functions kept for arguments that come again, bounded by their bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial, update_wrapper
from threading import Lock
from typing import Any, Generic, TypeVar

import jax

__all__ = ["MOST_BYTES", "MOST_ENTRIES", "Kept", "kept", "table_bytes"]

MOST_BYTES = 2**30
"""How many bytes the results of one function may hold together, unless told otherwise."""

MOST_ENTRIES = 256
"""How many results of one function are kept, unless told otherwise: small ones cost memory too."""

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by key.  Those that were not asked for longest are dropped when all together weigh too much.

    Values may grow while they are kept: they are weighed anew whenever one is added.  The value that was added last
    always stays, whatever its weight.  Threads may share it; two that miss the same key at once both make the value,
    and both get the one that was ready first.

    Args:
        weigh: gives the bytes of a value.
        most_bytes: of all values together.
        most_entries: how many values.

    Example:
        >>> squares = Kept(weigh=lambda value: 8, most_bytes=16)
        >>> [squares.get(k, lambda k=k: k * k) for k in (1, 2, 3, 2)]
        [1, 4, 9, 4]
        >>> len(squares)
        2
    """

    def __init__(
        self, weigh: Callable[[T], int], most_bytes: int = MOST_BYTES, most_entries: int = MOST_ENTRIES
    ) -> None:
        self._weigh, self.most_bytes, self.most_entries = weigh, most_bytes, most_entries
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made if it is not here.

        Args:
            key: hashable.
            make: gives the value; called without the lock, so that it may ask for other values.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        made = make()
        with self._lock:
            value = self._values.setdefault(key, made)
            self._values.move_to_end(key)
            self._shrink()
        return value

    def peek(self, key: Hashable) -> T | None:
        """The value of a key, or None; this does not count as asking for it."""
        with self._lock:
            return self._values.get(key)

    def held_bytes(self) -> int:
        """What all values weigh."""
        with self._lock:
            return sum(self._weigh(value) for value in self._values.values())

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._values.clear()

    def _shrink(self) -> None:
        weights = [self._weigh(value) for value in self._values.values()]
        total = sum(weights)
        for weight in weights[:-1]:
            if total <= self.most_bytes and len(self._values) <= self.most_entries:
                return
            self._values.popitem(last=False)
            total -= weight


class _Keeping(Generic[T]):
    """A function with the results that are kept of it."""

    def __init__(self, function: Callable[..., T], results: Kept[T]) -> None:
        update_wrapper(self, function)
        self._function, self.kept = function, results

    def __call__(self, *args: Hashable) -> T:
        return self.kept.get(args, partial(self._function, *args))

    def cache_clear(self) -> None:
        """Drop all results."""
        self.kept.clear()


def kept(weigh: Callable[[T], int], most_bytes: int = MOST_BYTES) -> Callable[[Callable[..., T]], _Keeping[T]]:
    """A decorator that keeps the results of a function of hashable positional arguments, as `Kept` does.

    As with `functools.lru_cache`, `cache_clear()` of the function drops all; its attribute `kept` holds the results by
    the tuple of arguments.

    Args:
        weigh: gives the bytes of a result.
        most_bytes: of all results together.
    """

    return lambda function: _Keeping(function, Kept(weigh, most_bytes))


def table_bytes(*tables: Any) -> int:
    """The bytes of the arrays in pytrees, each array once."""
    arrays = {id(leaf): leaf for leaf in jax.tree.leaves(tables)}
    return sum(getattr(leaf, "nbytes", 0) for leaf in arrays.values())
