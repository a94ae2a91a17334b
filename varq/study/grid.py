"""From a spec and axes, or a list of specs, to cells: each a spec with the values that tell it from the others."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from varq import checks, spec

__all__ = ["Axis", "Grid", "axes_of", "replaced"]

Values = dict[str, Any]
_SHARED = 256  # parts of specs that are kept to be used by several cells
_TOLD = 6  # most fields that tell the specs of a list apart


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a grid.

    Args:
        names: of the fields that change along it together, such as "problem.bond".
        rows: their values, one row for each place.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        return len(self.rows)


def axes_of(over: Any) -> tuple[Axis, ...]:
    """The axes that a person writes as a mapping.

    Args:
        over: values by the name of a field; or rows of values by a tuple of names, which then change together.

    Raises:
        TypeError: for something else.
        ValueError: for an axis without values, a field on two axes, or rows of another length than its names.
    """
    checks.instance("over", over, Mapping, "Give a mapping such as {'problem.bond': [1.4, 1.6], 'seed': range(5)}.")
    axes = tuple(_axis(names, values) for names, values in over.items())
    known: set[str] = set()
    for name in (name for axis in axes for name in axis.names):
        if name in known:
            raise ValueError(f"A field stands on one axis of a sweep. Got {name!r} on two. Leave one out.")
        known.add(name)
    return axes


def _axis(names: Any, values: Any) -> Axis:
    single = isinstance(names, str)
    hint = "Name fields of the spec, such as 'problem.bond', or a tuple of such names that change together."
    several = (names,) if single else checks.instance("the name of an axis", names, tuple, hint)
    for name in several:
        checks.text("the name of an axis", name, hint)
    said = f"over[{names!r}]"
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{said} must be a list of values. Got {values!r}. Give one value as [value].")
    listed = [_plain(value) for value in values]
    if not listed or not several:
        raise ValueError(f"{said} must hold at least one value. Got none. Leave the axis out, or give it values.")
    rows = [(value,) for value in listed] if single else [_row(said, several, value) for value in listed]
    return Axis(tuple(several), tuple(rows))


def _row(said: str, names: tuple[str, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)) or len(value) != len(names):
        raise ValueError(
            f"{said} must hold rows of {len(names)} values, one for each name. Got {value!r}. "
            "Give such rows, for instance by zip(a, b)."
        )
    return tuple(_plain(entry) for entry in value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def replaced(task: Any, name: str, value: Any, whole: str = "") -> Any:
    """A spec with another value in one of its fields, or in a field of one of its parts.

    Args:
        task: a spec.
        name: of the field; dots lead into parts, and into mappings.
        value: the new one.
        whole: the name as a person wrote it.

    Raises:
        ValueError: if there is no such field; lists those that there are.

    Example:
        >>> from varq.problems import Molecule
        >>> replaced(Molecule.load("LiH"), "bond", 2.0).bond
        2.0
    """
    whole = whole or name
    first, _, rest = name.partition(".")
    if isinstance(task, Mapping):
        if rest or first in task:
            inner = replaced(task[first], rest, value, whole) if rest and first in task else value
            if not rest or first in task:
                return {**task, first: inner}
        _refuse(first, whole, "the mapping", task)
    if not spec.is_spec(task):
        _refuse(first, whole, f"{type(task).__name__}", ())
    known = [field for field in spec.fields(task) if not field.startswith("_")]
    if first not in known:
        _refuse(first, whole, type(task).__name__, known)
    inner = replaced(getattr(task, first), rest, value, whole) if rest else value
    return dataclasses.replace(task, **{first: inner})


def _refuse(first: str, whole: str, where: str, known: Iterable[str]) -> None:
    fields = list(known)
    near = checks.close_names(first, fields)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    listed = f" Its fields: {', '.join(fields)}." if fields else " It has no fields; name a part that has."
    raise ValueError(
        f"A sweep goes over fields of the spec. {where} has no field {first!r} (of {whole!r}).{meant}{listed}"
    )


class Grid:
    """The cells of a sweep, made when they are asked for.

    Args:
        base: a spec, or a list of specs.
        axes: of the spec; none for a list.

    Raises:
        TypeError: for something that is no spec.
        ValueError: for an empty list, or axes with a list.
    """

    def __init__(self, base: Any, axes: Sequence[Axis] = ()) -> None:
        self.axes = tuple(axes)
        several = isinstance(base, (list, tuple))
        self._specs: tuple[Any, ...] = tuple(base) if several else (base,)
        if several and axes:
            raise ValueError(
                "over applies to one spec. Got a list of specs. Put its values into the specs of the list."
            )
        if not self._specs:
            raise ValueError("A sweep needs at least one spec. Got an empty list.")
        for task in self._specs:
            if isinstance(task, type) or not hasattr(task, "resolve") or not hasattr(task, "plan"):
                raise TypeError(f"A sweep takes specs: VQE(...), QAOA(...), Minimize(...). Got {task!r}.")
        self._shared: dict[Any, Any] = {}
        self._columns = _differences(self._specs) if several else {}
        self.names = tuple(self._columns) if several else tuple(name for axis in self.axes for name in axis.names)

    def __len__(self) -> int:
        return math.prod(map(len, self.axes)) if self.axes else len(self._specs)

    def place(self, index: int) -> tuple[int, ...]:
        """Where a cell stands on each axis; the last axis changes fastest."""
        return tuple(int(k) for k in np.unravel_index(index, [len(axis) for axis in self.axes])) if self.axes else ()

    def index(self, place: Sequence[int]) -> int:
        """The cell at a place."""
        return int(np.ravel_multi_index(tuple(place), [len(axis) for axis in self.axes]))

    def values(self, index: int) -> Values:
        """What tells a cell from the others, by name."""
        if not self.axes:
            return {name: column[index] for name, column in self._columns.items()}
        pairs = (
            zip(axis.names, axis.rows[k], strict=True) for axis, k in zip(self.axes, self.place(index), strict=True)
        )
        return dict(itertools.chain.from_iterable(pairs))

    def spec(self, index: int) -> Any:
        """A cell's spec.

        Raises:
            ValueError, TypeError: for values that its fields do not take; says which cell.
        """
        if not self.axes:
            return self._specs[index]
        with self.told(index):
            return self._with(self.values(index))

    @contextmanager
    def told(self, index: int) -> Iterator[None]:
        """A block whose errors about values say that they are of a cell."""
        try:
            yield
        except (ValueError, TypeError) as error:
            raise type(error)(f"{error} (in the cell {self.words(index)})") from error

    def words(self, index: int) -> str:
        """A cell as messages name it; an array by its place among the values."""
        places = [k for axis, k in zip(self.axes, self.place(index), strict=True) for _ in axis.names]
        lengths = [len(axis) for axis in self.axes for _ in axis.names]
        return ", ".join(
            f"{name}=value {places[k] + 1} of {lengths[k]}" if isinstance(value, np.ndarray) else f"{name}={value!r}"
            for k, (name, value) in enumerate(self.values(index).items())
        )

    def _with(self, values: Mapping[str, Any]) -> Any:
        """The spec with these values; parts that several cells have in common are made once."""
        task = self._specs[0]
        groups: dict[str, Values] = {}
        for name, value in values.items():
            groups.setdefault(name.partition(".")[0], {})[name] = value
        changes = {}
        for part, some in groups.items():
            if part not in spec.fields(task):
                replaced(task, next(iter(some)), None)
            changes[part] = some[part] if [*some] == [part] else self._part(task, part, some)
        return dataclasses.replace(task, **changes)

    def _part(self, task: Any, part: str, some: Values) -> Any:
        # A part comes before its own fields, in whatever order a person names them: it would undo them.
        inner = sorted(some.items(), key=lambda item: item[0].count("."))
        key = spec.dumps([part, *inner])
        if key not in self._shared:
            made = getattr(task, part)
            if part in some:
                _, made = inner.pop(0)
                if isinstance(made, str):  # a name becomes what it stands for
                    made = getattr(dataclasses.replace(task, **{part: made}), part)
            for name, value in inner:
                made = replaced(made, name.partition(".")[2], value, name)
            if len(self._shared) >= _SHARED:
                self._shared.pop(next(iter(self._shared)))
            self._shared[key] = made
        return self._shared[key]


def _differences(specs: Sequence[Any]) -> dict[str, list[Any]]:
    """The plain fields in which specs differ, as columns; their numbers where there is none."""
    flat = [_flat(task) for task in specs]
    names = list(dict.fromkeys(name for one in flat for name in one))
    columns = {name: [one.get(name) for one in flat] for name in names}
    told = {name: column for name, column in columns.items() if any(v != column[0] for v in column)}
    return dict(itertools.islice(told.items(), _TOLD)) or {"cell": list(range(len(specs)))}


def _flat(task: Any) -> Values:
    out: Values = {"algorithm": task.kind.partition(":")[2]}

    def walk(value: Any, path: str) -> None:
        if spec.is_spec(value):
            if path:
                out[path] = value.kind.partition(":")[2]
            for name, entry in spec.fields(value).items():
                walk(entry, f"{path}.{name}" if path else name)
        elif isinstance(value, Mapping):
            for name, entry in value.items():
                walk(entry, f"{path}.{name}")
        elif value is None or isinstance(value, (bool, int, float, str)):
            out[path] = value

    walk(task, "")
    return out
