"""Who may do what at a time where several threads ask for jobs: what is quick need not wait for what is slow."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["alone", "in_turn"]

P = ParamSpec("P")
T = TypeVar("T")


class _Shared(Protocol):
    """What several threads ask for jobs; `_turning` is taken before `_lock`."""

    @property
    def _lock(self) -> AbstractContextManager[Any]: ...

    @property
    def _turning(self) -> AbstractContextManager[Any]: ...


S = TypeVar("S", bound=_Shared)


def alone(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """One thread at a time sees to the queue and the account; none of them waits for a device meanwhile."""

    @wraps(method)
    def locked(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


def in_turn(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """One thread at a time has jobs out: a second one waits until what was sent is back."""

    @wraps(method)
    def locked(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._turning:
            return method(self, *args, **kwargs)

    return locked
