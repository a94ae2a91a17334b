"""varq: a laboratory for hybrid quantum-classical algorithms.

State a problem, pick an ansatz and an algorithm, run it; nothing that was computed is ever lost.

    >>> import varq
    >>> from varq.problems import Molecule
    >>> from varq.algorithms import vqe
    >>> result = vqe(Molecule.load("H2"), store=None, progress=False)
    >>> bool(abs(result.deviation) < 1e-6)
    True
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.devices.catalog import device, spread
    from varq.keys import Key
    from varq.optimizers.classical import Scipy
    from varq.optimizers.coordinate import ExcitationSolve, Rotosolve
    from varq.optimizers.gradient import Optax
    from varq.optimizers.natural import NaturalGradient
    from varq.optimizers.stochastic import SPSA
    from varq.protocol import Event, Reason, Result, Stop
    from varq.session.api import compare, load, resume, run, start
    from varq.session.attached import attach
    from varq.session.budget import Budget
    from varq.session.replay import ReplayError
    from varq.session.retry import Retry
    from varq.session.run import Run
    from varq.session.session import Session
    from varq.store.store import open_store
    from varq.study.study import Study, sweep

_HOME = {
    "Budget": "varq.session.budget",
    "Event": "varq.protocol",
    "ExcitationSolve": "varq.optimizers.coordinate",
    "Key": "varq.keys",
    "NaturalGradient": "varq.optimizers.natural",
    "Optax": "varq.optimizers.gradient",
    "Reason": "varq.protocol",
    "ReplayError": "varq.session.replay",
    "Result": "varq.protocol",
    "Retry": "varq.session.retry",
    "Rotosolve": "varq.optimizers.coordinate",
    "Run": "varq.session.run",
    "SPSA": "varq.optimizers.stochastic",
    "Scipy": "varq.optimizers.classical",
    "Session": "varq.session.session",
    "Stop": "varq.protocol",
    "Study": "varq.study.study",
    "attach": "varq.session.attached",
    "compare": "varq.session.api",
    "device": "varq.devices.catalog",
    "load": "varq.session.api",
    "open_store": "varq.store.store",
    "resume": "varq.session.api",
    "run": "varq.session.api",
    "spread": "varq.devices.catalog",
    "start": "varq.session.api",
    "sweep": "varq.study.study",
}

__version__ = "0.2.0.dev0"

__all__ = [
    "__version__",
    "Budget",
    "Event",
    "ExcitationSolve",
    "Key",
    "NaturalGradient",
    "Optax",
    "Reason",
    "ReplayError",
    "Result",
    "Retry",
    "Rotosolve",
    "Run",
    "SPSA",
    "Scipy",
    "Session",
    "Stop",
    "Study",
    "attach",
    "compare",
    "device",
    "load",
    "open_store",
    "resume",
    "run",
    "spread",
    "start",
    "sweep",
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
