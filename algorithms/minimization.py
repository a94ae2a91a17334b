"""Any scalar function of a user's own, minimized with the same journal, resume and plots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from varq import checks, spec
from varq.algorithms.requirements import check_differences
from varq.algorithms.task import Task, minimization, put, settled
from varq.node.function import FunctionCost
from varq.node.nodes import Nodes
from varq.optimizers.resolution import as_optimizer
from varq.protocol import Plan

__all__ = ["REPEATS", "Minimize"]

REPEATS = 16  # estimates of a noisy cost at the point found: their error bar is known to about a sixth


def _shots(cost: Any) -> int | None:
    """The shots of a function that is a QNode with a finite number of them."""
    shots = getattr(spec.unwrap(cost), "shots", None)
    found = getattr(shots, "total_shots", shots)
    return None if not found else int(found)


@dataclass(frozen=True, eq=False)
class Minimize(Task):
    """Minimize a function of an array, made of QNodes or of anything else.

    Args:
        cost: takes an array of the shape of `x0`, returns a number.  A function that reads only data and installed
            packages is known by its source; with a `name`, any other can be handed in again at resume.
        x0: the starting point.  Its shape is that of every point: with "jax" an index beyond it takes the last element,
            as JAX has it, and no error tells.
        optimizer: an optimizer or its name.
        gradient: how the gradient is had: "jax" (`jax.value_and_grad`), "finite-diff" (central differences), or a
            function of x that returns it; None for "jax".
        name: of the function in the store.
        noisy: whether values carry shot noise; None finds out where `cost` is a QNode.  A noisy cost is estimated
            `REPEATS` times afresh at the point found, which gives the value and its error bar.

    Raises:
        TypeError: if `cost` is not callable.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> def bowl(x):
        ...     return jnp.sum((x - 1.0) ** 2)
        >>> Minimize(bowl, np.zeros(2)).title
        'minimize bowl'
    """

    cost: Any
    x0: Any
    optimizer: Any = "L-BFGS-B"
    gradient: Any = None
    name: str | None = None
    noisy: bool | None = None

    kind: ClassVar[str] = "algorithm:minimize"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device is not None or self.shots is not None or self.precision != "double":
            raise ValueError(
                "A function brings its own devices: device, shots and precision have no meaning for Minimize. "
                "Set them where the function makes its QNodes."
            )
        if self.noisy is not None:
            checks.boolean("noisy", self.noisy)
        if not callable(spec.unwrap(self.cost)):
            raise TypeError(f"cost must be a function of an array. Got {self.cost!r}.")
        if isinstance(self.gradient, str):
            checks.choice("gradient", self.gradient, ("jax", "finite-diff"))
        elif self.gradient is not None and not callable(spec.unwrap(self.gradient)):
            raise TypeError(f"gradient must be 'jax', 'finite-diff' or a function. Got {self.gradient!r}.")
        put(self, x0=checks.array("x0", self.x0), optimizer=as_optimizer(self.optimizer))
        if self.name is not None:
            checks.text("name", self.name)
            put(self, cost=spec.Opaque(spec.unwrap(self.cost), self.name))

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        function = spec.unwrap(self.cost)
        return f"minimize {self.name or getattr(function, '__name__', type(function).__name__)}"

    def resolve(self, device: Any, shots: int | None) -> Minimize:
        """This spec with every choice made; the function brings its own devices."""
        noisy = _shots(self.cost) is not None if self.noisy is None else self.noisy
        if noisy and self.gradient == "finite-diff":
            raise ValueError(
                "gradient='finite-diff' takes differences over steps of about 1e-5: there shot noise drowns any slope. "
                "Got a noisy cost. Use optimizer='spsa', or a gradient function of your own (parameter shifts)."
            )
        if noisy:
            check_differences(self.optimizer, _shots(self.cost))
        resolved: Minimize = settled(self, None, None, gradient=self.gradient or "jax", noisy=noisy)
        return resolved

    def plan(self, nodes: Nodes) -> Plan:
        """This spec, resolved, made runnable."""
        cost = FunctionCost(spec.unwrap(self.cost), np.shape(self.x0), spec.unwrap(self.gradient))
        return minimization(
            method=self.optimizer.method(),
            start=self.x0,
            evaluate=cost.evaluate,
            sampled=bool(self.noisy),
            repeats=REPEATS if self.noisy else 1,
            reference=lambda: None,
            stop=self.optimizer.stop,
            title=self.title,
            unit="",
        )
