"""From a resolved spec to what the loop drives, with the parameters that another run found where it starts from one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from varq import spec
from varq.node.nodes import Nodes
from varq.protocol import FromRun, Outcome, Plan, Progress, Reason, Result
from varq.store.store import Store

__all__ = ["planned"]

STARTED_FROM = "started_from"  # the detail of a result that says where it started

_NO_START = (Reason.FAILED, Reason.NONFINITE)


def planned(resolved: Any, store: Store, nodes: Nodes | None = None) -> Plan:
    """A spec made runnable.

    Args:
        resolved: the resolved spec.
        store: which has the run that it starts from, if it starts from one.
        nodes: what builds its circuits; None for those of its own device.

    Raises:
        LookupError: if it starts from a run that the store does not have.
        ValueError: if that run has not ended, or its parameters have another shape.
    """
    source = getattr(resolved, "initial", None)
    begun = resolved if not isinstance(source, FromRun) else None
    where = ""
    if isinstance(source, FromRun):
        begun, where = _started(resolved, source.run, store)
    if nodes is None:
        nodes = Nodes(spec.unwrap(resolved.device), resolved.shots, resolved.precision)
    plan: Plan = begun.plan(nodes)  # type: ignore[union-attr]
    return plan if not where else dataclasses.replace(plan, conclude=_telling(plan.conclude, where))


def _started(resolved: Any, run: str, store: Store) -> tuple[Any, str]:
    """The spec with starting parameters, and in words where they are from."""
    record = store.get(run)
    if record is None:
        raise LookupError(
            f"A run starts at the parameters of a run that the store has. Run {run} is not there. Run that one first, "
            "or give initial=None."
        )
    reason = None if record.reason is None else Reason(record.reason)
    found: Result | None = None if record.result is None else spec.loads(record.result, store.array)
    if reason in _NO_START or (found is not None and reason is not None and reason.final and found.parameters is None):
        return _at(resolved, None), f"its default, as run {run} gave no parameters"
    if found is None or reason is None or not reason.final:
        raise ValueError(
            f"A run starts at the parameters of a run that has ended. Run {run} is {record.reason or 'unfinished'} "
            f'after {record.steps} steps. Finish it first: varq.resume("{run}").'
        )
    return _at(resolved, found.parameters), f"run {run}"


def _at(resolved: Any, initial: Any) -> Any:
    """The spec with other starting parameters, checked against its ansatz' shape."""
    return dataclasses.replace(resolved, initial=initial).resolve(resolved.device, resolved.shots)


def _telling(conclude: Callable[[Progress], Outcome], where: str) -> Callable[[Progress], Outcome]:
    def told(progress: Progress) -> Outcome:
        outcome = conclude(progress)
        return dataclasses.replace(outcome, details={**outcome.details, STARTED_FROM: where})

    return told
