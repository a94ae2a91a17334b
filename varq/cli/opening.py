"""The session that a file and the options of the command line describe: an option goes before what the file says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from varq.cli.mistakes import asked
from varq.cli.specfile import Described
from varq.devices.prices import load_prices
from varq.protocol import Stop
from varq.session.budget import Budget
from varq.session.session import Session

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """What the command line says of a run, and of the session that it is to have.

    Args:
        steps: most steps.
        device: to run on.
        shots: of each circuit.
        budget: limits by name, as of `varq.Budget`; None for those that are not given.
        prices: a file of prices.
    """

    steps: int | None = None
    device: str | None = None
    shots: int | None = None
    budget: Mapping[str, float | None] = field(default_factory=dict)
    prices: Path | None = None

    @property
    def given(self) -> bool:
        """Whether it says anything."""
        said = (self.steps, self.device, self.shots, self.prices, *self.budget.values())
        return any(value is not None for value in said)

    def opened(self, described: Described, store: Any, progress: bool) -> Session:
        """The session.

        Args:
            described: what the file says.
            store: of the session.
            progress: whether it shows how it goes.

        Raises:
            InputError: for a limit, a device or a file of prices that is none.
        """
        options: dict[str, Any] = dict(described.options)
        limits: dict[str, Any] = {name: most for name, most in self.budget.items() if most is not None}
        with asked():
            if limits:
                options["budget"] = dataclasses.replace(options.get("budget", Budget()), **limits)
            if self.prices is not None:
                options["prices"] = load_prices(self.prices)
            shots = described.shots if self.shots is None else self.shots
            return Session(self.device or described.device, shots=shots, store=store, progress=progress, **options)

    def rule(self, described: Described) -> Stop | None:
        """The stop rule; None for the one that suits the algorithm."""
        rule: Stop | None = described.task.stop
        if self.steps is None:
            return rule
        return Stop(steps=self.steps) if rule is None else dataclasses.replace(rule, steps=self.steps)
