"""Which cases of a test run at every change; the others are left to the wide gate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some(cases: Iterable[Any], *chosen: Any) -> list[Any]:
    """All cases, those that are not chosen marked `full`.

    Raises:
        ValueError: for a choice that is no case.
    """
    every = list(cases)
    if unknown := [case for case in chosen if case not in every]:
        raise ValueError(f"Chosen cases must be among {every}. Got {unknown}.")
    return [case if case in chosen else pytest.param(case, marks=pytest.mark.full) for case in every]
