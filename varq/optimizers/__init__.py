"""Methods that ask for costs and gradients and are told them; as specs, ready for any algorithm."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.optimizers.classical import Scipy
    from varq.optimizers.coordinate import ExcitationSolve, Rotosolve
    from varq.optimizers.gradient import Optax
    from varq.optimizers.natural import NaturalGradient
    from varq.optimizers.resolution import as_optimizer
    from varq.optimizers.stochastic import SPSA

_HOME = {
    "ExcitationSolve": "varq.optimizers.coordinate",
    "NaturalGradient": "varq.optimizers.natural",
    "Optax": "varq.optimizers.gradient",
    "Rotosolve": "varq.optimizers.coordinate",
    "SPSA": "varq.optimizers.stochastic",
    "Scipy": "varq.optimizers.classical",
    "as_optimizer": "varq.optimizers.resolution",
}

__all__ = [
    "ExcitationSolve",
    "NaturalGradient",
    "Optax",
    "Rotosolve",
    "SPSA",
    "Scipy",
    "as_optimizer",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what a name of the table stands for when it is first used (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
