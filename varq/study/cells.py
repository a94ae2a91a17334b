"""Cells with their identities, and the batches in which they are run, both fixed by the study alone."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from varq import spec
from varq.devices.catalog import DEFAULT
from varq.protocol import FromRun
from varq.study.grid import Grid
from varq.study.needs import Labels, labels_of, priority_of

__all__ = ["AMPLITUDES", "PARTS", "TOGETHER", "Batch", "Layout", "alike", "resolved", "shards"]

AMPLITUDES = 1 << 21  # of the states of a batch together: beyond it, company saves no time and costs memory
TOGETHER = 25  # most cells of a batch where nobody says how many
PARTS = 8  # into about so many a study of chains falls: what spreads over workers and shards is whole chains
_TOGETHER = (
    "optimizer:optax",
    "optimizer:scipy",
    "optimizer:spsa",
    "optimizer:rotosolve",
    "optimizer:excitation-solve",
)
_CHANGING_LITTLE = ("problem", "initial", "seed", "repeat")  # fields, where the problem keeps its kind and its size
_ALONE = {"problem": None, "initial": None, "seed": 0, "repeat": 0, "stop": None}


@dataclass(frozen=True)
class Batch:
    """Cells that are run together; the place of a cell is its seat.

    Args:
        cells: their numbers.
        seats: with which the compiled function is made; 1 where the cell is run by itself.
        needs: the numbers of batches that come before.
        labels: what each of its cells takes where it runs.
        priority: the highest among its cells.
    """

    cells: tuple[int, ...]
    seats: int = 1
    needs: tuple[int, ...] = ()
    labels: Labels = ()
    priority: int = 0


def resolved(task: Any) -> Any:
    """A spec with every choice made, as a session without a device of its own makes them."""
    return task.resolve(task.device, task.shots)


def alike(task: Any) -> str:
    """What cells have in common that take and use about the same.

    Args:
        task: the spec of one of them, every choice made.

    Example:
        >>> from varq.algorithms import VQE
        >>> from varq.problems import TransverseFieldIsing
        >>> chains = [TransverseFieldIsing(n, field=g) for n, g in [(2, 1), (2, 5), (9, 5)]]
        >>> near, far, large = (VQE(problem=chain, ansatz="hardware-efficient") for chain in chains)
        >>> alike(resolved(near)) == alike(resolved(far)), alike(resolved(far)) == alike(resolved(large))
        (True, False)
    """
    common = {name: value for name, value in spec.fields(task).items() if name not in _CHANGING_LITTLE}
    problem = getattr(task, "problem", None)
    what = [task.kind, common, getattr(problem, "kind", ""), getattr(problem, "wires", 0)]
    return hashlib.sha256(spec.dumps(what, {}).encode()).hexdigest()


class Layout:
    """The cells of a study: their ids, and their batches.

    Args:
        grid: the cells' specs.
        warm: the field along whose axis each cell starts where the one before it ended; None for no such axis.
        batch: most cells that are run together; None for 25, and of chains of warm starts for an eighth at most.
        needs: what cells take where they run, as of `varq.sweep`; no part of what they are.
        priority: of cells, as of `varq.sweep`; no part of what they are.

    Raises:
        ValueError: for cells that cannot be found again, an unknown axis, or cells along it that differ in shape.
        ValueError, TypeError: for a cell whose choices cannot be made; says which.
    """

    def __init__(self, grid: Grid, warm: str | None, batch: int | None, needs: Any = None, priority: Any = 0) -> None:
        self.grid = grid
        self.warm = warm
        self._axis = None if warm is None else _warm_axis(grid, warm)
        self.ids: list[str] = []
        self.before: list[int | None] = []
        self.labels: list[Labels] = []
        self.priorities: list[int] = []
        same: dict[Labels, Labels] = {}
        shapes: list[bytes | None] = []
        widths: dict[bytes, int] = {}
        parameters: list[Any] = []
        for index in range(len(grid)):
            before = self._before(index)
            task = self._warmed(index, before)
            with grid.told(index):
                whole = resolved(task)
            name, findable = spec.identity(whole)
            if not findable:
                raise ValueError(
                    "A cell of a study must be data, so that it is found again. "
                    f"Got {whole.title!r}, which holds an object of this process. Describe it by specs."
                )
            if before is not None:
                _check_shape(parameters[before], _shape(whole), grid.words(index), str(warm))
            self.ids.append(name[:16])
            self.before.append(before)
            labels = labels_of(needs, whole)
            self.labels.append(same.setdefault(labels, labels))
            self.priorities.append(priority_of(priority, whole))
            parameters.append(_shape(whole) if self._axis is not None else None)
            shape = _company(whole) if batch != 1 else None
            if shape is not None:
                widths[shape] = whole.problem.wires
            shapes.append(shape)
        self.batches = self._grouped(shapes, widths, batch)

    def task(self, index: int) -> Any:
        """A cell's spec, with the run that it starts from."""
        return self._warmed(index, self.before[index])

    def _warmed(self, index: int, before: int | None) -> Any:
        task = self.grid.spec(index)
        return task if before is None else dataclasses.replace(task, initial=FromRun(self.ids[before]))

    def _before(self, index: int) -> int | None:
        """The cell before one on the axis of the warm start."""
        if self._axis is None:
            return None
        place = list(self.grid.place(index))
        if place[self._axis] == 0:
            return None
        place[self._axis] -= 1
        return self.grid.index(place)

    def _chains(self) -> list[list[int]]:
        """Cells of which each starts from the one before; of cells that are one run the first is enough."""
        chains: dict[int, list[int]] = {}
        seen: set[str] = set()
        for index, run in enumerate(self.ids):
            if run not in seen:
                chains.setdefault(self._first(index), []).append(index)
            seen.add(run)
        return list(chains.values())

    def _first(self, index: int) -> int:
        """Where the chain of a cell begins."""
        if self._axis is None:
            return index
        place = list(self.grid.place(index))
        place[self._axis] = 0
        return self.grid.index(place)

    def _wave(self, index: int) -> int:
        return 0 if self._axis is None else self.grid.place(index)[self._axis]

    def _grouped(self, shapes: Sequence[bytes | None], widths: dict[bytes, int], most: int | None) -> tuple[Batch, ...]:
        """Chains that are alike, so many side by side from end to end: no batch needs one of other chains."""
        chains = self._chains()
        if most is None:
            most = TOGETHER if self._axis is None else min(TOGETHER, -(-len(chains) // PARTS))
        alike: dict[Any, list[list[int]]] = {}
        for chain in chains:
            kind = tuple((self._wave(cell), shapes[cell], self.labels[cell]) for cell in chain)
            alone = all(shapes[cell] is None for cell in chain)
            alike.setdefault(chain[0] if alone else kind, []).append(chain)
        made: list[tuple[int, tuple[int, ...], int]] = []
        for members in alike.values():
            wide = max((widths[shape] for cell in members[0] if (shape := shapes[cell]) is not None), default=0)
            room = max(1, min(most, AMPLITUDES >> wide))
            count = -(-len(members) // room)
            seats = -(-len(members) // count)  # batches of one size share one compiled function
            for k in range(0, len(members), seats):
                for cells in zip(*members[k : k + seats], strict=True):
                    together = shapes[cells[0]] is not None
                    parts = [cells] if together else [(cell,) for cell in cells]
                    made += [(self._wave(part[0]), part, seats if together else 1) for part in parts]
        made.sort(key=lambda batch: batch[0])
        return self._linked([(cells, seats) for _, cells, seats in made])

    def _linked(self, made: Sequence[tuple[tuple[int, ...], int]]) -> tuple[Batch, ...]:
        home = {self.ids[cell]: number for number, (cells, _) in enumerate(made) for cell in cells}
        found = []
        for cells, seats in made:
            before = {self.before[cell] for cell in cells}
            needs = tuple(sorted({home[self.ids[b]] for b in before if b is not None}))
            priority = max(self.priorities[cell] for cell in cells)
            found.append(Batch(cells, seats, needs, self.labels[cells[0]], priority))
        return tuple(found)

    @property
    def digest(self) -> str:
        """Of the list of cells."""
        return hashlib.sha256("\n".join(self.ids).encode()).hexdigest()


def shards(batches: Sequence[Batch], count: int) -> list[list[int]]:
    """The batches in so many parts of which none needs another, by turns.

    Example:
        >>> shards([Batch((0,)), Batch((1,)), Batch((2,), needs=(0,))], 2)
        [[0, 2], [1]]
    """
    root = list(range(len(batches)))

    def top(number: int) -> int:
        while root[number] != number:
            root[number] = number = root[root[number]]
        return number

    for number, batch in enumerate(batches):
        for needed in batch.needs:
            low, high = sorted((top(number), top(needed)))
            root[high] = low
    turns = {leader: k % count for k, leader in enumerate(sorted({top(number) for number in range(len(batches))}))}
    out: list[list[int]] = [[] for _ in range(count)]
    for number in range(len(batches)):
        out[turns[top(number)]].append(number)
    return out


def _warm_axis(grid: Grid, warm: str) -> int:
    if not grid.axes:
        raise ValueError("warm_start names a field of `over`. Got a list of specs. Give one spec and over={...}.")
    number = next((k for k, axis in enumerate(grid.axes) if warm in axis.names), None)
    if number is None:
        known = ", ".join(repr(name) for name in grid.names)
        raise ValueError(f"warm_start must be one of the fields swept over: {known}. Got {warm!r}.")
    task = grid.spec(0)
    if "initial" not in spec.fields(task) or "initial" in grid.names:
        raise ValueError(
            f"warm_start needs a spec with the field `initial`, which nothing else sets. Got {type(task).__name__}. "
            "Leave warm_start out."
        )
    return number


def _shape(task: Any) -> Any:
    ansatz = getattr(task, "ansatz", None)
    return getattr(ansatz, "shape", None) if ansatz is not None else np.shape(getattr(task, "x0", ()))


def _check_shape(before: Any, here: Any, cell: str, warm: str) -> None:
    if before != here:
        raise ValueError(
            f"Cells along warm_start={warm!r} must have parameters of one shape. Got {here} after {before} in the cell "
            f"{cell}. Leave warm_start out, or sweep over something that keeps the shape."
        )


def _company(task: Any) -> bytes | None:
    """What cells that may be evaluated together have in common; None for one that is run by itself."""
    circuit = getattr(task, "cost_circuit", None)
    if circuit is None or task.device != DEFAULT or task.shots is not None or task.track:
        return None
    if getattr(task.optimizer, "kind", None) not in _TOGETHER or not hasattr(task.problem, "wires"):
        return None
    common = {name: value for name, value in spec.fields(task).items() if name not in _ALONE}
    text = spec.dumps([task.kind, circuit, common, task.problem.wires])
    return hashlib.sha256(text.encode()).digest()
