"""A sliding window around any decoder: endless streams of rounds, decoded while they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.algorithms.correction.decoders import Decoding, Matching, as_decoder, fired
from varq.algorithms.correction.error_models import Bits, Fault, Part, checked, faults, model, rounds_of

__all__ = ["Sliding", "Window"]


@dataclass(frozen=True)
class Window:
    """Decodes `width` rounds at a time, keeps what it finds in the first `commit` of them, and goes on by so many.

    This is the overlapping recovery of Dennis et al., J. Math. Phys. 43, 4452 (2002).  A fault belongs to the first
    round in which it fires a detector.  In each window, the faults that belong to the committed rounds are settled:
    what they flip later on is taken out of the rounds to come.  For the decoder inside, those later detectors are
    observables of the window like the logical ones, so that any decoder will do.

    Args:
        decoder: the one inside, a spec or its name.
        width: rounds in a window; twice the distance of the code is usual.
        commit: rounds that each window settles, fewer than `width`.

    Raises:
        ValueError: unless 1 <= commit < width.

    Example:
        >>> Window("matching", width=10, commit=5)
        Window(decoder=Matching(correlated=None), width=10, commit=5)
    """

    decoder: Any = "matching"
    width: int = 6
    commit: int = 3

    kind: ClassVar[str] = "decoder:window"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        width = checks.integer("width", self.width, minimum=2)
        hint = "What lies between commit and width is what makes the committed rounds sure; take width = 2 * commit."
        commit = checks.integer("commit", self.commit, minimum=1, maximum=width - 1, hint=hint)
        for name, value in {"decoder": as_decoder(self.decoder), "width": width, "commit": commit}.items():
            object.__setattr__(self, name, value)

    @property
    def graphlike(self) -> bool:
        """Whether the decoder inside needs faults of at most two detectors."""
        return bool(getattr(self.decoder, "graphlike", False))

    def settled(self, distance: int) -> Window:
        """With the choices made for a code's distance."""
        inner = self.decoder.settled(distance) if hasattr(self.decoder, "settled") else self.decoder
        return Window(inner, self.width, self.commit)

    def from_dem(self, dem: Any, rounds: int | None = None) -> Sliding:
        """The decoder for a `stim.DetectorErrorModel` whose detectors have their round as the last coordinate.

        Args:
            dem: the model.
            rounds: of detectors; None for as many as the model has.  For more, the windows in its middle are repeated:
                a stream of a million rounds needs the model of a few.

        Raises:
            ValueError: if detectors have no rounds, a fault is longer than what is left of a window, or the model
                cannot be extended to so many rounds.
        """
        inner = self.decoder
        if isinstance(inner, Matching) and inner.correlated is None:
            inner = inner.settled(len(checked(dem).shortest_graphlike_error()))
        panes = _Cutter(dem, inner, self.width, self.commit).panes()
        held = len(rounds_of(dem))
        wanted = held if rounds is None else checks.integer("rounds", rounds, minimum=held)
        if wanted > held:
            panes = self._extended(panes, wanted - held)
        return Sliding(panes, int(dem.num_observables))

    def _extended(self, panes: list[_Pane], more: int) -> list[_Pane]:
        # A model may repeat after several windows only: how Stim decomposes a fault can alternate from round to round.
        pairs = [(k, step) for step in range(1, len(panes)) for k in range(len(panes) - step)]
        k, step = next(((k, step) for k, step in pairs if panes[k] == panes[k + step]), (0, 0))
        unit = step * self.commit
        if not unit or more % unit:
            said = f"multiples of {unit} rounds more" if unit else "no more: none of its windows are equal"
            raise ValueError(
                f"rounds must be those of the model, or more where its middle can be repeated; here {said}. "
                f"Got {more} more. Make the model of {self.width + 4 * self.commit} rounds or more of one circuit."
            )
        return panes[:k] + panes[k : k + step] * (more // unit) + panes[k:]


@dataclass(frozen=True)
class _Pane:
    """One window: its rounds, its decoder, and what it settles.

    Args:
        sizes: detectors of each round in it.
        dropped: detectors of the rounds that it settles.
        carried: places in the window of later detectors that what it settles may flip.
        text: of the window's error model, which tells windows apart.
        decoding: the decoder.
        commit: rounds that it settles.
    """

    sizes: tuple[int, ...]
    dropped: int
    carried: tuple[int, ...]
    text: str
    commit: int
    decoding: Decoding = field(compare=False)


class _Cutter:
    """Cuts a detector error model into windows."""

    def __init__(self, dem: Any, inner: Any, width: int, commit: int) -> None:
        self.inner, self.width, self.commit = inner, width, commit
        self.rounds = rounds_of(dem)
        self.observables = int(dem.num_observables)
        if len(self.rounds) == 1 and dem.num_detectors > 1:
            raise ValueError(
                "A window needs the round of each detector as its last coordinate. Got detectors of one round alone. "
                "Write DETECTOR(x, y, t), or use the decoder without a window."
            )
        self.when = np.zeros(dem.num_detectors, dtype=np.int64)
        self.place = np.zeros(dem.num_detectors, dtype=np.int64)  # in the order of rounds
        self.place[np.concatenate(self.rounds)] = np.arange(dem.num_detectors)
        for k, where in enumerate(self.rounds):
            self.when[where] = k
        self.by_round: list[list[Fault]] = [[] for _ in self.rounds]
        for fault in faults(dem):
            if times := [int(self.when[d]) for d in fault.detectors]:
                self._check_length(max(times) - min(times))
                self.by_round[min(times)].append(fault)

    def _check_length(self, length: int) -> None:
        if length > self.width - self.commit:
            raise ValueError(
                f"width - commit must be at least {length}, the rounds that a fault of this model reaches on. "
                f"Got width {self.width} and commit {self.commit}. Widen the window."
            )

    def panes(self) -> list[_Pane]:
        made: dict[str, Decoding] = {}
        found, start, last = [], 0, False
        while not last:
            stop = min(start + self.width, len(self.rounds))
            last = stop == len(self.rounds)
            found.append(self._pane(start, stop, stop if last else start + self.commit, made))
            start += self.commit
        return found

    def _pane(self, start: int, stop: int, settled: int, made: dict[str, Decoding]) -> _Pane:
        sizes = tuple(len(where) for where in self.rounds[start:stop])
        first = sum(len(where) for where in self.rounds[:start])
        dropped, size = sum(sizes[: settled - start]), sum(sizes)
        mine = [fault for k in range(start, settled) for fault in self.by_round[k]]
        later = sorted({int(self.place[d]) - first for f in mine for d in f.detectors if self.when[d] >= settled})
        label = {place: self.observables + k for k, place in enumerate(later)}
        kept = [self._seen(fault, first, size, label) for fault in mine]
        kept += [self._seen(fault, first, size, None) for k in range(settled, stop) for fault in self.by_round[k]]
        # In one order, so that equal windows are known as such.
        ordered = sorted((f for f in kept if f.parts), key=lambda f: (f.parts, f.probability))
        dem = model(ordered, size, self.observables + len(later))
        text = str(dem)
        if text not in made:
            made[text] = self.inner.from_dem(dem)
        return _Pane(sizes, dropped, tuple(later), text, settled - start, made[text])

    def _seen(self, fault: Fault, first: int, size: int, label: dict[int, int] | None) -> Fault:
        """A fault as its window sees it; with `label`, it is settled there."""
        parts = []
        for part in fault.parts:
            places = [int(self.place[d]) - first for d in part.detectors]
            flips = () if label is None else part.observables + tuple(label[p] for p in places if p in label)
            inside = tuple(p for p in places if p < size)
            if inside:
                parts.append(Part(inside, flips))
        return Fault(fault.probability, tuple(parts))


class Sliding:
    """A decoder that slides over rounds; made by `Window.from_dem`.

    `corrections` are those of the rounds that are settled; after the last round, of all.
    """

    def __init__(self, panes: Sequence[_Pane], observables: int) -> None:
        self._panes = panes
        self.observables = observables
        self.detectors = sum(pane.dropped for pane in panes)
        self.rounds = sum(pane.commit for pane in panes)
        self._carried: dict[int, NDArray[np.int64]] = {id(p): np.array(p.carried, dtype=np.int64) for p in panes}
        self._at = self._many = self._filled = 0
        self.reset()

    def decode_batch(self, detectors: Any) -> Bits:
        """The observables that were flipped; detectors in the order of rounds, and within each of their numbers.

        Raises:
            ValueError: for another number of detectors than the model has.
        """
        left = fired("detectors", detectors, (None, self.detectors), "The decoder was made for another circuit.")
        found = np.zeros((len(left), self.observables), dtype=np.bool_)
        first = 0
        for pane in self._panes:
            seen = left[:, first : first + sum(pane.sizes)]
            told = pane.decoding.decode_batch(seen)
            found ^= told[:, : self.observables]
            seen[:, self._carried[id(pane)]] ^= told[:, self.observables :]
            first += pane.dropped
        return found

    def push(self, round: Any) -> None:
        """Take in the next round, and decode when a window is full.

        Raises:
            ValueError: for another number of detectors than the round has, or after the last round.
        """
        if self._at == len(self._panes):
            raise ValueError(f"All {self.rounds} rounds were pushed. Call reset() before the next shot.")
        pane = self._panes[self._at]
        size = pane.sizes[self._filled]
        self._held[self._many : self._many + size] = fired("round", round, (size,))
        self._many += size
        self._filled += 1
        if self._filled == len(pane.sizes):
            self._slide(pane)

    def _slide(self, pane: _Pane) -> None:
        held = self._held[: self._many]
        told = pane.decoding.decode_batch(held[None])[0]
        self._found ^= told[: self.observables]
        held[self._carried[id(pane)]] ^= told[self.observables :]
        left = self._many - pane.dropped
        self._held[:left] = held[pane.dropped :].copy()
        self._many, self._filled = left, self._filled - pane.commit
        self._at += 1

    def corrections(self) -> Bits:
        """The observables that the settled rounds flipped; after the last round, all did."""
        return self._found.copy()

    def reset(self) -> None:
        """Forget the rounds that were pushed."""
        self._held: Bits = np.zeros(max(sum(pane.sizes) for pane in self._panes), dtype=np.bool_)
        self._found: Bits = np.zeros(self.observables, dtype=np.bool_)
        self._at = self._many = self._filled = 0
