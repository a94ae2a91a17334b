"""From a resolved spec to what the loop drives, with the parameters that another run found where it starts from one."""

from __future__ import annotations

import dataclasses
from typing import Any

from varq import spec
from varq.node.nodes import Nodes
from varq.protocol import FromRun, Plan, Reason, Result
from varq.session.journal import recorded_start
from varq.store.store import Store

__all__ = ["planned"]

_NO_START = (Reason.FAILED, Reason.NONFINITE)


def planned(resolved: Any, store: Store, run: str = "", nodes: Nodes | None = None) -> Plan:
    """A spec made runnable.

    Args:
        resolved: the resolved spec.
        store: which has the run that it starts from, if it starts from one.
        run: the id of the run that is planned, which goes on from where it began whatever became of the other one
            since; empty for none.
        nodes: what builds its circuits; None for those of its own device.

    Raises:
        LookupError: if it starts from a run that the store does not have.
        ValueError: if that run has not ended, or its parameters have another shape.
    """
    begun, where = resolved, ""
    source = getattr(resolved, "initial", None)
    if isinstance(source, FromRun):
        parameters, where = recorded_start(store, run) or _found(source.run, store)
        begun = dataclasses.replace(resolved, initial=parameters).resolve(resolved.device, resolved.shots)
    if nodes is None:
        nodes = Nodes(spec.unwrap(resolved.device), resolved.shots, resolved.precision)
    plan: Plan = begun.plan(nodes)
    return dataclasses.replace(plan, started_from=where) if where else plan


def _found(run: str, store: Store) -> tuple[Any, str]:
    """The parameters that a run found, None for the default; and in words where they are from."""
    record = store.get(run)
    if record is None:
        raise LookupError(
            f"A run starts at the parameters of a run that the store has. Run {run} is not there. Run that one first, "
            "or give initial=None."
        )
    reason = None if record.reason is None else Reason(record.reason)
    found: Result | None = None if record.result is None else spec.loads(record.result, store.array)
    if reason in _NO_START or (found is not None and reason is not None and reason.final and found.parameters is None):
        return None, f"its default, as run {run} gave no parameters"
    if found is None or reason is None or not reason.final:
        raise ValueError(
            f"A run starts at the parameters of a run that has ended. Run {run} is {record.reason or 'unfinished'} "
            f'after {record.steps} steps. Finish it first: varq.resume("{run}").'
        )
    return found.parameters, f"run {run}"
