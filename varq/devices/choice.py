"""A device chosen by name, with its options: data, which a spec can hold; or an object, with what it does not tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from varq import checks, spec
from varq.devices.credentials import refuse
from varq.devices.service import Limits, Mode

__all__ = ["Device", "Given"]

_SAVED = "save the account with the vendor's own tool, and give its name, account=..."


@dataclass(frozen=True)
class Device:
    """A device by name, with options; made by `varq.device`.

    Args:
        name: such as "ibm.torino".
        layout: the machine's qubits for wires 0, 1, ...; None lets the vendor's compiler choose.
        options: of the device, JSON values; they are part of a run's identity.
        mode: how jobs travel.  It is no part of a run's identity, and neither is what follows.
        account: the name of a saved account.
        instance: the instance that pays.
        limits: of a job, by the names of `varq.devices.service.Limits`, where they are to be lower than the device's.
        paid: whether a PennyLane device reaches a machine that costs something; None for what varq knows of it.

    Raises:
        TypeError: for options that are no JSON data, or a limit that is no integer.
        ValueError: for an unknown mode or limit, or what looks like a credential, however deep in an option.
    """

    name: str
    layout: tuple[int, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    mode: str = field(default="job", metadata=spec.UNHASHED)
    account: str | None = field(default=None, metadata=spec.UNHASHED)
    instance: str | None = field(default=None, metadata=spec.UNHASHED)
    limits: Mapping[str, int] = field(default_factory=dict, metadata=spec.UNHASHED)
    paid: bool | None = field(default=None, metadata=spec.UNHASHED)

    kind: ClassVar[str] = "data:device"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checks.text("name", self.name)
        object.__setattr__(self, "mode", checks.choice("mode", str(self.mode), [m.value for m in Mode]))
        if self.layout is not None:
            hint = "Give the machine's qubits for wires 0, 1, ...: layout=(3, 4)."
            given = checks.instance("layout", self.layout, Iterable, hint)
            layout = tuple(checks.integer("layout", q, minimum=0, hint=hint) for q in given)
            if len(set(layout)) < len(layout):
                raise ValueError(f"layout must name each qubit once. Got {list(layout)}.")
            object.__setattr__(self, "layout", layout)
        for name in ("account", "instance"):
            if getattr(self, name) is not None:
                checks.text(name, getattr(self, name), "Give its name, as the vendor's own tool saved it.")
        own = checks.instance("limits", self.limits, Mapping, 'Give them by name: limits={"circuits": 50}.')
        for name, most in own.items():
            checks.choice("a limit of a job", name, [f.name for f in fields(Limits)])
            checks.integer(f"limits[{name!r}]", most, minimum=1, hint="Leave it out for no limit of your own.")
        object.__setattr__(self, "limits", dict(own))
        if self.paid is not None:
            checks.boolean("paid", self.paid)
        for name in ("name", "account", "instance", "options"):
            refuse(name, getattr(self, name), _SAVED)

    @property
    def hashed_as(self) -> Any:
        """What stands for it in the identity of a run: its name alone, where that is all that counts."""
        return self.name if self.layout is None and not self.options else self

    @property
    def arguments(self) -> dict[str, Any]:
        """What the device is opened with, beside its name."""
        said = {"layout": self.layout, "account": self.account, "instance": self.instance}
        given = {name: value for name, value in said.items() if value is not None}
        return {**self.options, **given, **({} if self.mode == Mode.JOB else {"mode": self.mode})}

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Given:
    """A PennyLane device object, and whether it reaches a machine that costs something; made by `varq.device`.

    Args:
        device: the object.
        paid: whether its jobs cost something.
    """

    device: Any
    paid: bool

    @property
    def name(self) -> str:
        """Of the device."""
        return str(self.device.name)

    def __str__(self) -> str:
        return self.name
