"""Repeated rounds, found in the steps of a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from varq.simulator.measured.program import Form, Measure, Step

__all__ = ["Loop", "Part", "parts"]

_FEWEST = 3  # rounds: two compile as quickly one after the other
_LONGEST = 512  # steps of a round


@dataclass(frozen=True)
class Loop:
    """Rounds of equal forms.

    Args:
        forms: of the steps of a round.
        rounds: the steps of each round.
    """

    forms: tuple[Form, ...]
    rounds: tuple[tuple[Step, ...], ...]


Part = Loop | tuple[Step, ...]


@lru_cache(maxsize=256)
def parts(steps: tuple[Step, ...]) -> tuple[Part, ...]:
    """The steps cut into rounds that repeat, with at least one measurement in each, and what stands between them."""
    names: dict[Form, int] = {}
    forms = np.array([names.setdefault(s.form, len(names)) for s in steps], dtype=int)
    measures = np.array([isinstance(s.form, Measure) for s in steps], dtype=bool)
    return tuple(_cut(steps, forms, measures))


def _cut(steps: Sequence[Step], forms: np.ndarray, measures: np.ndarray) -> list[Part]:
    found = _longest(forms, measures)
    if found is None:
        return [tuple(steps)] if len(steps) else []
    first, period, count = found
    end = first + period * count
    rounds = tuple(tuple(steps[k : k + period]) for k in range(first, end, period))
    loop = Loop(tuple(s.form for s in rounds[0]), rounds)
    before = _cut(steps[:first], forms[:first], measures[:first])
    return [*before, loop, *_cut(steps[end:], forms[end:], measures[end:])]


def _longest(forms: np.ndarray, measures: np.ndarray) -> tuple[int, int, int] | None:
    """First step, period and count of the repetition that saves most steps; the shortest period of equal ones."""
    best, saved = None, 0
    if measures.sum() < _FEWEST:
        return None
    for period in range(1, min(len(forms) // _FEWEST, _LONGEST) + 1):
        for first, length in _runs(forms[period:] == forms[:-period]):
            count = length // period + 1
            if count >= _FEWEST and (count - 1) * period > saved and measures[first : first + period].any():
                best, saved = (first, period, count), (count - 1) * period
    return best


def _runs(equal: np.ndarray) -> list[tuple[int, int]]:
    """First index and length of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], equal, [False]]).astype(np.int8)))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
