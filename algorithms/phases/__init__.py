"""Phase estimation: beliefs about a phase, policies that choose experiments, and studies of many runs."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.algorithms.phases.greedy import Greedy
    from varq.algorithms.phases.ladder import Higgins, Semiclassical
    from varq.algorithms.phases.lookahead import LookAhead
    from varq.algorithms.phases.robust import Robust
    from varq.algorithms.phases.spectrum import Spectrum
    from varq.algorithms.phases.walk import RandomWalk

_HOME = {
    "Greedy": "varq.algorithms.phases.greedy",
    "Higgins": "varq.algorithms.phases.ladder",
    "LookAhead": "varq.algorithms.phases.lookahead",
    "RandomWalk": "varq.algorithms.phases.walk",
    "Robust": "varq.algorithms.phases.robust",
    "Semiclassical": "varq.algorithms.phases.ladder",
    "Spectrum": "varq.algorithms.phases.spectrum",
}

__all__ = [
    "Greedy",
    "Higgins",
    "LookAhead",
    "RandomWalk",
    "Robust",
    "Semiclassical",
    "Spectrum",
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
