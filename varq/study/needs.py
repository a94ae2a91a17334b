"""What a cell takes while it runs: a place on a quantum processor, or graphics processors; and who offers that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from varq import checks
from varq.study.suited import graphics

__all__ = ["Labels", "check_offered", "labels_of", "listed", "offered", "priority_of", "shared", "slots"]

Labels: TypeAlias = tuple[tuple[str, int], ...]
"""Labels with how many of each a cell takes, sorted; () for a cell that runs anywhere."""

_LISTED = 5  # kinds of workers that a message names
_KNOWN = ("gpu", "qpu")
_SHAPE = (
    "Give {'qpu': 'ibm.torino'}, {'qpu': ['ibm.torino', 'iqm.garnet']} or {'gpu': 1}, or a function of a cell's spec "
    "that returns such a mapping."
)


def labels_of(needs: Any, task: Any) -> Labels:
    """What a cell takes, as labels: one for each quantum processor, so that none waits for another one's place.

    Args:
        needs: a mapping, a function of the cell's spec that gives one, or None.
        task: the cell's spec.

    Raises:
        TypeError: for something else.
        ValueError: for a need of another name, or a processor that is named twice.

    Example:
        >>> labels_of({"qpu": "ibm.torino"}, None)
        (('qpu:ibm.torino', 1),)
        >>> labels_of({"qpu": ["iqm.garnet", "ibm.torino"]}, None)
        (('qpu:ibm.torino', 1), ('qpu:iqm.garnet', 1))
    """
    found = needs(task) if callable(needs) else needs
    if found is None:
        return ()
    checks.instance("needs", found, Mapping, _SHAPE)
    taken = []
    for name, value in found.items():
        if checks.choice("the name of a need", name, _KNOWN, _SHAPE) == "qpu":
            taken += [(f"qpu:{name}", 1) for name in _processors(value)]
        else:
            taken.append(("gpu", checks.integer("needs['gpu']", value, minimum=1)))
    return tuple(sorted(taken))


def _processors(value: Any) -> list[str]:
    """The quantum processors that a cell takes together, as one on `varq.spread` does."""
    given = [value] if isinstance(value, str) else checks.instance("needs[qpu]", value, (list, tuple), _SHAPE)
    names = [checks.text("needs[qpu]", name, _SHAPE) for name in given]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"needs['qpu'] must name one quantum processor, or several once each. Got {value!r}. {_SHAPE}")
    return names


def priority_of(priority: int | Callable[[Any], int], task: Any) -> int:
    """The priority of a cell: higher goes first.

    Args:
        priority: a number, or a function of the cell's spec that gives one.
        task: the cell's spec.
    """
    return checks.integer("priority", priority(task) if callable(priority) else priority)


def offered(labels: Any) -> dict[str, int]:
    """Labels that a person gives to workers, with how many of each there are.

    Raises:
        TypeError: for something else than a mapping.
        ValueError: for a label that no need asks for, or fewer than one of it.

    Example:
        >>> offered({"qpu:ibm.torino": 1})
        {'qpu:ibm.torino': 1}
    """
    hint = "Give a mapping such as {'qpu:ibm.torino': 1, 'gpu': 2}."
    out = {}
    for name, value in checks.instance("labels", labels, Mapping, hint).items():
        if name != "gpu" and not (isinstance(name, str) and name.startswith("qpu:") and len(name) > len("qpu:")):
            raise ValueError(f"A label is 'gpu', or 'qpu:' and the name of a device. Got {name!r}. {hint}")
        out[name] = checks.integer(f"labels[{name!r}]", value, minimum=1)
    return out


def shared(count: int, workers: int) -> list[int]:
    """So many of something in as many parts, as equal as they can be.

    Example:
        >>> shared(4, 3)
        [2, 1, 1]
    """
    return [count // workers + (k < count % workers) for k in range(workers)]


def slots(labels: Labels, offers: Mapping[str, float]) -> int:
    """How many cells that take these labels can run at a time."""
    return min((int(offers.get(name, 0) // count) for name, count in labels), default=0)


def listed(labels: Mapping[str, float] | Labels) -> str:
    """Labels for a person.

    Example:
        >>> listed({"qpu:ibm.torino": 1, "gpu": 2})
        'qpu:ibm.torino (1), gpu (2)'
    """
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    return ", ".join(f"{name} ({count:g})" for name, count in pairs) or "nothing"


def check_offered(
    wanted: Mapping[Labels, int],
    offers: Mapping[str, float] | None,
    who: str,
    each: Sequence[Mapping[str, float]] | None = None,
) -> None:
    """Raises unless everything that cells take is offered: nothing runs elsewhere in silence.

    Args:
        wanted: how many cells take each set of labels.
        offers: how many there are of each label at a time; None where any quantum processor will do.
        who: offers them.
        each: what each worker has of it; None where all together serve one cell.

    Raises:
        ValueError: lists what is offered.
    """
    for labels, cells in wanted.items():
        if offers is None:
            lacking = [pair for pair in labels if pair[0] == "gpu" and pair[1] > graphics()]
            has = f"JAX has {checks.counted(graphics(), 'graphics processor')} in this process"
        else:
            lacking = [(name, count) for name, count in labels if offers.get(name, 0) < count]
            has = f"it offers {listed(dict(sorted(offers.items())))}"
            if not lacking and each is not None and not any(slots(labels, one) for one in each):
                lacking = list(labels)
                kinds = dict.fromkeys(listed(dict(sorted(one.items()))) for one in each if one)
                has = f"a cell runs on one worker, and one has {' or '.join(list(kinds)[:_LISTED])}"
        if lacking:
            raise ValueError(
                f"What a cell needs must be offered where it runs. {checks.counted(cells, 'cell')} "
                f"{'needs' if cells == 1 else 'need'} {listed(tuple(lacking))}, and {who} has that not: {has}. Nothing "
                "was run. Give the label to workers (Processes(labels=...), dask worker --resources), or change needs=."
            )
