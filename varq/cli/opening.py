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
from varq.session.continuing import continued, in_all
from varq.session.session import Session
from varq.store.store import Store

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

    def opened(self, described: Described, store: Any, progress: bool, again: bool = False) -> Session:
        """The session.

        Args:
            described: what the file says.
            store: of the session.
            progress: whether it shows how it goes.
            again: whether limits are those of all that the run uses up, earlier processes included.

        Raises:
            InputError: for a limit, a device or a file of prices that is none.
        """
        options: dict[str, Any] = dict(described.options)
        with asked():
            if self._limits:
                options["budget"] = dataclasses.replace(options.get("budget", Budget()), **self._limits)
            if self.prices is not None:
                options["prices"] = load_prices(self.prices)
            shots = described.shots if self.shots is None else self.shots
            options |= {"device": self.device or described.device, "shots": shots, "store": store, "progress": progress}
            session = Session(**options)
            before = in_all(session, described.task) if again else None
            if before is None:
                return session
            session.close()
            return Session(**options, _again=before)

    def continued(self, run: str, store: Store, progress: bool, take_over: bool) -> Session:
        """The session in which a run of the store goes on.

        Args:
            run: its id, or a unique beginning of it.
            store: where it is.
            progress: whether the session shows how it goes.
            take_over: take it from an owner that no longer shows signs of life.

        Raises:
            InputError: if there is no such run, or for a limit or a file of prices that is none.
        """
        with asked():
            prices = None if self.prices is None else load_prices(self.prices)
            options: dict[str, Any] = {"store": store, "progress": progress, "prices": prices}
            return continued(run, limits=self._limits, take_over=take_over, **options)

    @property
    def _limits(self) -> dict[str, Any]:
        return {name: most for name, most in self.budget.items() if most is not None}

    def rule(self, described: Described) -> Stop | None:
        """The stop rule; None for the one that suits the algorithm."""
        rule: Stop | None = described.task.stop
        if self.steps is None:
            return rule
        return Stop(steps=self.steps) if rule is None else dataclasses.replace(rule, steps=self.steps)
