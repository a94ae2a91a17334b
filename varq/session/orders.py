"""Commands to the process that owns a session: what they say, and how they are obeyed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from varq import checks
from varq.session.drive import Lane
from varq.session.run import Run

__all__ = ["ORDERS", "hold", "named", "obey", "order"]

ORDERS = ("cancel", "pause", "resume", "step", "priority", "stop")


def order(do: str, run: str | None = None, priority: int | None = None) -> dict[str, Any]:
    """A command as JSON data.

    Args:
        do: "cancel" (end a run), "pause", "resume", "step" (pause again after one more), "priority", or "stop" (end all
            runs and the session).
        run: the id of the run it concerns; None for all.
        priority: the new one.

    Raises:
        ValueError: for something else, or a priority where it does not belong.

    Example:
        >>> order("priority", "1f2e3d4c", 5)
        {'do': 'priority', 'run': '1f2e3d4c', 'priority': 5}
    """
    body: dict[str, Any] = {"do": checks.choice("do", do, ORDERS)}
    if run is not None:
        body["run"] = checks.text("run", run)
    if (do == "priority") != (priority is not None):
        raise ValueError(f"A priority goes with the order 'priority', and only there. Got {do!r} with {priority!r}.")
    if priority is not None:
        body["priority"] = checks.integer("priority", priority)
    return body


def obey(lanes: Iterable[Lane], body: Mapping[str, Any]) -> str | None:
    """Do what a command says; in a few words what was done, or None if nothing fits it.

    Args:
        lanes: the runs of the session.
        body: of the command, which anybody may have posted.
    """
    do, run, priority = (body.get(name) for name in ("do", "run", "priority"))
    meant = [lane for lane in lanes if run in (None, lane.run.id) and not lane.run.done]
    if do not in ORDERS or (not meant and do != "stop") or (do == "priority" and type(priority) is not int):
        return None
    for lane in meant:
        if do in ("cancel", "stop"):
            lane.run.stop()
            hold(lane, False)
            if lane.dispatcher is not None:
                lane.dispatcher.call_off(lane.run.id)
        elif do in ("pause", "resume"):
            hold(lane, do == "pause")
        elif do == "step":
            hold(lane, False)
            lane.until = lane.run.steps + 1
        else:
            prioritize(lane, int(priority or 0))
    whom = "all runs" if run is None else f"run {run[:12]}"
    return f"{do} {whom}" if do != "priority" else f"priority {priority} for {whom}"


def named(lanes: Iterable[Lane], run: Run | str) -> Lane:
    """The one lane of a run, or of an id or its beginning.

    Raises:
        LookupError: if there is no such lane, or several.
    """
    name, known = run.id if isinstance(run, Run) else checks.text("run", run), list(lanes)
    found = [lane for lane in known if lane.run.id.startswith(name)]
    if len(found) != 1:
        listed = ", ".join(sorted(lane.run.id[:8] for lane in known if not lane.run.done)) or "none"
        raise LookupError(
            "A run is named by its id, or a beginning that fits one, among those that were started here and have "
            f"not ended. Got {name!r}. Such runs: {listed}."
        )
    return found[0]


def hold(lane: Lane, paused: bool) -> None:
    """Hold a run back, or let it go on."""
    lane.paused, lane.until = paused, None
    if lane.dispatcher is not None:
        lane.dispatcher.hold(lane.run.id, paused)


def prioritize(lane: Lane, priority: int) -> None:
    """Give a run, and what it has in the queue, another priority."""
    lane.priority = priority
    if lane.dispatcher is not None:
        lane.dispatcher.prioritize(lane.run.id, priority)
