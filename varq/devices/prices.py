"""What devices cost: a dated table of list prices, which a person's own table overrides."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any

from varq import checks

__all__ = ["FREE", "PRICES", "Price", "load_prices", "price"]


@dataclass(frozen=True)
class Price:
    """What a device charges: the sum of four parts.

    Args:
        per_job: for each job, whatever it holds; on AWS for each quantum task, of which a job may be several.
        per_circuit: for each circuit.
        per_shot: for each shot of each circuit.
        per_second: for each second that the processor or simulator is busy.
        currency: three capital letters, such as "USD".
        dated: when this was the price, as YYYY, YYYY-MM or YYYY-MM-DD.
        source: who says so.
        least_seconds: that each circuit is charged at least, in seconds.
        job_seconds: that a job keeps the machine busy beside its shots; expected until jobs have told, as is the next.
        shot_seconds: that a shot keeps it busy.

    Example:
        >>> Price(per_job=0.3, per_shot=0.00145, dated="2025", source="an example").cost(jobs=2, shots=1000)
        2.05
    """

    per_job: float = 0.0
    per_circuit: float = 0.0
    per_shot: float = 0.0
    per_second: float = 0.0
    currency: str = "USD"
    dated: str = ""
    source: str = ""
    least_seconds: float = 0.0
    job_seconds: float = 0.0
    shot_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.default == 0.0):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), minimum=0))
        hint = "Say when and where you read the price: list prices change."
        if not re.fullmatch(r"[A-Z]{3}", checks.text("currency", self.currency)):
            raise ValueError(f"currency must be three capital letters, such as 'USD'. Got {self.currency!r}.")
        if not re.fullmatch(
            r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?", checks.text("dated", self.dated, hint)
        ):
            raise ValueError(f"dated must be YYYY, YYYY-MM or YYYY-MM-DD. Got {self.dated!r}. {hint}")
        checks.text("source", self.source, hint)

    @property
    def free(self) -> bool:
        """Whether nothing is ever charged."""
        return not (self.per_job or self.per_circuit or self.per_shot or self.per_second)

    def cost(self, jobs: int = 0, circuits: int = 0, shots: int = 0, seconds: float = 0.0) -> float:
        """What this much work costs, in `currency`.

        Args:
            jobs: how many, as the vendor counts them.
            circuits: of all jobs together.
            shots: of all circuits together.
            seconds: that the machine is busy.

        Raises:
            TypeError: for a count that is no integer.
            ValueError: for a negative number.
        """
        jobs = checks.integer("jobs", jobs, minimum=0)
        circuits = checks.integer("circuits", circuits, minimum=0)
        shots = checks.integer("shots", shots, minimum=0)
        seconds = max(checks.real("seconds", seconds, minimum=0), self.least_seconds * circuits)
        return self.per_job * jobs + self.per_circuit * circuits + self.per_shot * shots + self.per_second * seconds

    def seconds(self, jobs: int, shots: int) -> float:
        """How long this much work is expected to keep the machine busy; 0 where nothing is known.

        Args:
            jobs: how many.
            shots: of all circuits together.
        """
        return self.job_seconds * jobs + self.shot_seconds * shots


FREE = Price(dated="2026", source="it runs on your own machine")
"""Of every simulator here."""

_AWS = "https://aws.amazon.com/braket/pricing (on-demand, list price as of that year; check before you rely on it)"
_IBM = "https://www.ibm.com/quantum/pricing (pay-as-you-go, list price as of that year; check before you rely on it)"


def _qpu(per_shot: float) -> Price:
    """Of a quantum processor on AWS: so much for each quantum task, and so much for each shot."""
    return Price(per_job=0.30, per_shot=per_shot, dated="2025", source=_AWS)


# 0.075 USD a minute, and at least three seconds for each task.
_MANAGED = Price(per_second=0.075 / 60, least_seconds=3.0, dated="2025", source=_AWS)

PRICES = MappingProxyType(
    {
        "varq.qubit": FREE,
        "permutation": FREE,
        "default.*": FREE,
        "lightning.*": FREE,
        "qiskit.aer": FREE,
        "qiskit-aer": FREE,
        "braket.local": FREE,
        "braket.local_dm": FREE,
        "braket.emulator": FREE,
        "braket.*/sv1": _MANAGED,
        "braket.*/dm1": _MANAGED,
        "braket.*/aria-[12]": _qpu(0.03),
        "braket.*/forte-1": _qpu(0.08),
        "braket.*/forte-enterprise-1": _qpu(0.08),
        "braket.*/garnet": _qpu(0.00145),
        "braket.*/emerald": _qpu(0.0016),
        "braket.*/ankaa-[23]": _qpu(0.0009),
        "ibm.fake_*": FREE,
        # 2 + 0.00035 * shots: the quick formula of IBM's guide "Workload usage", without error mitigation.
        "ibm.*": Price(per_second=1.6, job_seconds=2.0, shot_seconds=0.35e-3, dated="2025", source=_IBM),
    }
)
"""List prices by device name (`*` stands for any text, capital letters count as small); the first row that fits holds.

They are public list prices for the on-demand plan, without taxes, free tiers, error mitigation surcharges, storage or a
contract of your own, and were right when `dated` says.  Devices whose price is not surely known are left out.
"""


def price(name: str, own: Mapping[str, Price] | None = None) -> Price | None:
    """The price of a device, or None where it is unknown.

    Args:
        name: of the device, such as "braket.local" or "braket.arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet".
        own: prices that come before those of the table, as `load_prices` gives them.

    Example:
        >>> price("braket.eu-north-1/Garnet").per_shot
        0.00145
        >>> price("braket.eu-north-1/Ibex-Q1") is None
        True
    """
    folded = checks.text("name", name).casefold()
    for table in (own or {}, PRICES):
        for pattern, row in table.items():
            if fnmatchcase(folded, pattern.casefold()):
                return row
    return None


def load_prices(source: str | Path | Mapping[str, Any]) -> Mapping[str, Price]:
    """Prices of your own, from a TOML file or a mapping: one table for each device name or pattern.

    .. code-block:: toml

        ["braket.*/garnet"]
        per_job = 0.3
        per_shot = 0.0013
        currency = "EUR"
        dated = "2026-05-01"
        source = "our contract"

    Args:
        source: path of the file, or what it would hold.

    Raises:
        ValueError: for a file that is not TOML, an unknown field, or a bad value; names the row.
        TypeError: for a value of another type.
    """
    table = source if isinstance(source, Mapping) else _read(Path(checks.instance("source", source, (str, Path))))
    return MappingProxyType({checks.text("a device name", name): _row(name, row) for name, row in table.items()})


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a TOML file of prices. Got an error: {error}.") from error


def _row(name: str, row: Any) -> Price:
    if isinstance(row, Price):
        return row
    checks.instance(f"the price of {name!r}", row, Mapping, hint='In TOML, start it with a line ["device name"].')
    for key in row:
        checks.choice(f"a field of the price of {name!r}", key, [f.name for f in fields(Price)])
    values = dict(row)
    if "dated" in values and not isinstance(values["dated"], str):
        values["dated"] = str(values["dated"])  # TOML has dates of its own
    try:
        return Price(**values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"The price of {name!r}: {error}") from error
