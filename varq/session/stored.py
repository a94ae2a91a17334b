"""What the store alone tells of runs, without their circuits."""

from __future__ import annotations

from varq import spec
from varq.protocol import Result
from varq.store.store import Store

__all__ = ["result_of"]


def result_of(store: Store, run: str) -> Result | None:
    """The recorded result of a run; None if it has none."""
    record = store.get(run)
    if record is None or record.result is None:
        return None
    result: Result = spec.loads(record.result, store.array)
    return result
