"""Noise of a memory: presets, each a number of times one probability p."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar

from varq import checks

__all__ = ["PRESETS", "Noise", "as_noise"]

GATES = ("cx", "cz")
_MOST = MappingProxyType({"data": 0.75, "one": 0.75, "two": 0.9375, "idle": 0.75, "waiting": 0.75})
"""Where depolarizing is complete, if it is not 1; the other rates are of flips."""


@dataclass(frozen=True)
class Noise:
    """What goes wrong in a round of syndrome measurements, each as a multiple of one probability p.

    Args:
        name: of the model.
        data: depolarizes each data qubit at the beginning of a round.
        one: depolarizes the qubit of a one-qubit gate, after it.
        two: depolarizes both qubits of a two-qubit gate, after it.
        idle: depolarizes each qubit that rests while others have gates.
        waiting: depolarizes each data qubit that rests while others are measured or reset.
        reset: flips a qubit that was reset.
        measure: flips the outcome of an ancilla.
        readout: flips the outcome of a data qubit at the end.
        gates: two-qubit gates that the circuit has, "cx" (with CY and CZ for stabilizers that need them) or "cz" alone.

    Raises:
        ValueError: for a negative multiple or unknown gates.

    Example:
        >>> as_noise("si1000").rates(0.001)["measure"]
        0.005
    """

    name: str = "own"
    data: float = 0.0
    one: float = 0.0
    two: float = 0.0
    idle: float = 0.0
    waiting: float = 0.0
    reset: float = 0.0
    measure: float = 0.0
    readout: float = 0.0
    gates: str = "cx"

    kind: ClassVar[str] = "noise:model"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checks.text("name", self.name)
        checks.choice("gates", self.gates, GATES)
        for key in _RATES:
            object.__setattr__(self, key, checks.real(key, getattr(self, key), minimum=0))

    def rates(self, p: float) -> dict[str, float]:
        """The probability of each fault, by the names of the fields.

        Raises:
            ValueError: if p is outside [0, 1], or too large for this model.
        """
        p = checks.real("p", p, minimum=0, maximum=1, hint="It is a probability.")
        rates = {key: round(getattr(self, key) * p, 15) for key in _RATES}
        for key, rate in rates.items():
            most = _MOST.get(key, 1.0)
            if rate > most:
                raise ValueError(
                    f"p must leave each fault of the noise {self.name!r} a probability. Got p = {p:g}, with which "
                    f"{key!r} has {rate:g} and can have {most:g}. Take p at most {most / getattr(self, key):.4g}."
                )
        return rates

    @property
    def in_gates(self) -> bool:
        """Whether two-qubit gates fail: only then can a fault spread from an ancilla."""
        return self.two > 0

    @property
    def only_data(self) -> bool:
        """Whether all that fails are data qubits: every outcome of an ancilla is then right."""
        return not (self.one or self.two or self.idle or self.reset or self.measure)


_RATES = tuple(f.name for f in fields(Noise) if f.name not in ("name", "gates"))

PRESETS = MappingProxyType(
    {
        # Errors of the data alone; every measurement is right.
        "code-capacity": Noise(name="code-capacity", data=1),
        # Outcomes of ancillas are wrong too, as often: Dennis et al., J. Math. Phys. 43, 4452 (2002).
        "phenomenological": Noise(name="phenomenological", data=1, measure=1),
        # Every operation fails alike: the four parameters of Stim's own generated circuits, all p.
        "uniform": Noise(name="uniform", data=1, one=1, two=1, reset=1, measure=1, readout=1),
        # Superconducting qubits at a gate error p: Gidney et al., Quantum 5, 605 (2021), table 2.
        "si1000": Noise(name="si1000", one=0.1, two=1, idle=0.1, waiting=2, reset=2, measure=5, readout=5, gates="cz"),
    }
)
"""Noise models by name."""


def as_noise(given: Any) -> Noise:
    """A noise model, or the preset of that name.

    Raises:
        TypeError: if `given` is neither.
        ValueError: for an unknown name; lists the close ones.
    """
    if isinstance(given, str):
        return PRESETS[checks.choice("noise", given, PRESETS)]
    made: Noise = checks.instance("noise", given, Noise, hint=f"Give one of {sorted(PRESETS)}, or Noise(...).")
    return made
