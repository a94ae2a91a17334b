"""From measured bits to energies with error bars: measurement groups, shots for each, and sound step sizes."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.estimation.groups import Group, measurement_groups
    from varq.estimation.intervals import combined, interval
    from varq.estimation.shots import shared
    from varq.estimation.steps import difference_step, sound_step
    from varq.estimation.weighing import weighed

_HOME = {
    "Group": "varq.estimation.groups",
    "combined": "varq.estimation.intervals",
    "difference_step": "varq.estimation.steps",
    "interval": "varq.estimation.intervals",
    "measurement_groups": "varq.estimation.groups",
    "shared": "varq.estimation.shots",
    "sound_step": "varq.estimation.steps",
    "weighed": "varq.estimation.weighing",
}

__all__ = [
    "Group",
    "combined",
    "difference_step",
    "interval",
    "measurement_groups",
    "shared",
    "sound_step",
    "weighed",
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
