"""Several devices as one: the circuits of a request are shared out over them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from varq import checks

__all__ = ["WAYS", "Spread"]

WAYS = ("auto", "circuits", "shots")


@dataclass(frozen=True)
class Spread:
    """Devices that answer each request together; made by `varq.spread`, which says what becomes of circuits.

    Args:
        devices: names, `varq.device(...)`, PennyLane device objects or services; at least two, each once.
        by: "circuits" (each runs on one device), "shots" (each runs on all, with a part of its shots) or "auto".
        weights: the part of the shots that each device is to take, in any unit; None for equal parts.

    Raises:
        ValueError: for fewer than two devices, one that is there twice, a spread within a spread, another way, or
            weights that are not positive and one for each device.

    Example:
        >>> Spread(("default.qubit", "lightning.qubit"), weights=(3, 1)).parts
        (0.75, 0.25)
    """

    devices: tuple[Any, ...]
    by: str = "auto"
    weights: tuple[float, ...] | None = None

    kind: ClassVar[str] = "data:spread"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        hint = 'Give varq.spread("ibm.fake_torino", "braket.local").'
        given = tuple(checks.instance("devices", self.devices, (tuple, list), hint))
        object.__setattr__(self, "devices", given)
        if len(given) < 2:
            raise ValueError(f"A spread has at least two devices. Got {len(given)}. One alone is named as it is.")
        for k, device in enumerate(given):
            if isinstance(device, Spread):
                raise ValueError(f"A spread holds devices, and no other spread. Got {device.name}. Name its devices.")
            if any(device is other or device == other for other in given[:k]):
                raise ValueError(f"A spread has each device once. Got {_name(device)} twice. Leave one out.")
        checks.choice("by", self.by, WAYS)
        if self.weights is not None:
            object.__setattr__(self, "weights", self._checked(self.weights))

    def _checked(self, weights: Any) -> tuple[float, ...]:
        hint = "Give one positive number for each device."
        numbers = tuple(
            checks.real("weights", w, above=0, hint=hint) for w in checks.instance("weights", weights, Iterable, hint)
        )
        if len(numbers) != len(self.devices):
            raise ValueError(f"weights must be one for each of {len(self.devices)} devices. Got {len(numbers)}. {hint}")
        return numbers

    @property
    def parts(self) -> tuple[float, ...]:
        """The part of the shots that each device is to take; they add up to 1."""
        weights = self.weights or (1.0,) * len(self.devices)
        return tuple(w / math.fsum(weights) for w in weights)

    @property
    def name(self) -> str:
        """The names of its devices."""
        return f"spread({', '.join(map(_name, self.devices))})"

    def __str__(self) -> str:
        return self.name


def _name(device: Any) -> str:
    return device if isinstance(device, str) else str(getattr(device, "name", device))
