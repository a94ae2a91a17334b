"""Devices by name: how each is opened, and what it can do."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pennylane as qml

from varq import checks, names
from varq.devices.choice import Device
from varq.devices.local import LocalService
from varq.devices.service import Service
from varq.devices.untouched import Untouched

__all__ = [
    "DEFAULT",
    "KNOWN",
    "Abilities",
    "OpenDevice",
    "abilities",
    "called",
    "device",
    "known",
    "open_device",
    "open_service",
    "usable",
]

DEFAULT = "varq.qubit"


@dataclass(frozen=True)
class Abilities:
    """What a device can do.

    Args:
        gradient: how an exact gradient is had: "jax" (JAX traces and differentiates its results), "adjoint" (the
            device's own), "backprop" (through its NumPy code) or "parameter-shift" (from values alone).
        analytic: whether it gives exact expectation values (`shots=None`).
        seeded: whether its samples follow a seed that varq can set for each circuit.
        single: whether it can compute in single precision.
        noise: whether its results carry the noise of a machine or a model.
        jobs: how circuits get there: "here" (run in this process), or as "jobs" of many circuits.
        sessions: whether its vendor keeps a machine close in a session.
        paid: whether it costs money or a share of a scarce machine.
        extra: what to install for it; "" if it comes with varq.
    """

    gradient: str
    analytic: bool = True
    seeded: bool = False
    single: bool = False
    noise: bool = False
    jobs: str = "here"
    sessions: bool = False
    paid: bool = False
    extra: str = ""


KNOWN = MappingProxyType(
    {
        "varq.qubit": Abilities("jax", seeded=True, single=True),
        "lightning.qubit": Abilities("adjoint", seeded=True, single=True),
        # Its own adjoint method takes 20 s for a 12-qubit UCCSD gradient where backprop takes 3 s.
        "default.qubit": Abilities("backprop", seeded=True),
        # Backpropagation through its channels divides by zero where a state is pure (autograd's square root).
        "default.mixed": Abilities("parameter-shift", seeded=True, noise=True),
    }
)
"""Abilities of the PennyLane devices that varq tests.  Any other works from its values alone."""

_SHIFT = "parameter-shift"
VENDORS = MappingProxyType(
    {
        "qiskit-aer": Abilities(_SHIFT, False, seeded=True, noise=True, jobs="jobs", extra="aer"),
        "ibm.fake": Abilities(_SHIFT, False, noise=True, jobs="jobs", extra="ibm"),
        "ibm": Abilities(_SHIFT, False, noise=True, jobs="jobs", sessions=True, paid=True, extra="ibm"),
        "braket.local": Abilities(_SHIFT, False, seeded=True, jobs="jobs", extra="braket"),
        "braket.emulator": Abilities(_SHIFT, False, noise=True, jobs="jobs", extra="braket"),
        "braket": Abilities(_SHIFT, False, noise=True, jobs="jobs", paid=True, extra="braket"),
    }
)
"""Abilities of the devices that take jobs, by the beginning of their names; the longest beginning counts."""


@dataclass(frozen=True)
class OpenDevice:
    """A device that circuits are traced for, and its abilities.

    Args:
        name: of it.
        device: a PennyLane device; or, for one that takes jobs, what leaves circuits as they are.
        abilities: of it.
    """

    name: str
    device: Any
    abilities: Abilities


def called(device: Any) -> str:
    """The name of a device, however it was given."""
    return device if isinstance(device, str) else str(getattr(device, "name", "the function's own"))


def known(name: str) -> str:
    """`name` if there is a device of that name; otherwise ValueError that lists the close ones."""
    if _vendor(name) is not None:
        return name
    installed = sorted({*qml.plugin_devices, *KNOWN, *VENDORS, *names.names("device")})
    return checks.choice("device", name, installed, hint="Run `varq doctor` to see the plug-ins found on this machine.")


def device(
    name: str,
    *,
    mode: str = "job",
    layout: tuple[int, ...] | None = None,
    account: str | None = None,
    instance: str | None = None,
    limits: Mapping[str, int] | None = None,
    **options: Any,
) -> Device:
    """A device with options, for a session or a spec.

    Args:
        name: "varq.qubit", "ibm.fake_torino", "ibm.torino", "braket.local", ...: `varq devices` lists them.
        mode: how jobs travel to a vendor: "job", "batch" or "session".
        layout: the machine's qubits for wires 0, 1, ...
        account: the name of an account that was saved with the vendor's own tool.
        instance: the vendor's instance that pays.
        limits: of a job, where they are to be lower than the device's own, by the names of
            `varq.devices.service.Limits`: {"circuits": 50} sends more jobs, {"depth": 200} refuses deeper circuits.
        options: what else the device takes.

    Raises:
        TypeError: for a limit that is no integer.
        ValueError: for an unknown name, mode or limit, or an option that looks like a credential.

    Example:
        >>> device("ibm.torino", mode="session", layout=(3, 4)).arguments
        {'layout': (3, 4), 'mode': 'session'}
    """
    given = MappingProxyType(dict(options))
    return Device(known(checks.text("name", name)), layout, given, mode, account, instance, limits or {})


def usable(device: Any) -> Any:
    """`device` if it is one: a name that is known, a `varq.device(...)`, a PennyLane device object or a `Service`."""
    if isinstance(device, (str, Device)):
        known(called(device))
    elif not _takes_jobs(device):
        checks.instance("device", device, qml.devices.Device, hint="Give a PennyLane device or its name.")
    return device


def abilities(device: Any) -> Abilities:
    """What a device can do, as far as its name tells."""
    name = called(device)
    near = max((start for start in VENDORS if name.startswith(start)), key=len, default=None)
    if _vendor(name) is not None:
        return Abilities(_SHIFT, False, noise=True, jobs="jobs", paid=True) if near is None else VENDORS[near]
    return KNOWN.get(name, Abilities(_SHIFT))


def _vendor(name: str) -> str | None:
    """The row of `varq.names` that opens a device which takes jobs: its whole name, or what stands before the dot."""
    rows = names.names("device")
    return next((row for row in (name, name.split(".")[0]) if row in rows), None)


def open_device(device: Any, wires: int, precision: str = "double") -> OpenDevice:
    """A device for tracing circuits on wires 0 .. wires-1.

    Args:
        device: a name, a `varq.device(...)`, a PennyLane device object, or a `Service`.
        wires: how many wires it must have.
        precision: "double" or "single".

    Raises:
        ValueError: for an unknown name, a device object with other wires, or a precision that the device lacks.
    """
    name = called(device)
    if _takes_jobs(device) or _vendor(name) is not None:
        _check_precision(name, abilities(device), precision)
        return OpenDevice(name, Untouched(name), abilities(device))
    if not isinstance(device, (str, Device)):
        return _wrap(device, wires)
    able = KNOWN.get(known(name), Abilities(_SHIFT))
    _check_precision(name, able, precision)
    options = dict(device.arguments) if isinstance(device, Device) else {}
    if precision == "single":
        options |= {"precision": "single"} if name == DEFAULT else {"c_dtype": np.complex64}
    return OpenDevice(name, _made(name, wires, options), able)


def _made(name: str, wires: int, options: Mapping[str, Any]) -> Any:
    """A PennyLane device by name."""
    device = qml.device(name, wires=wires, **options)
    if name == "default.mixed" and device.readout_err is not None:
        # It keeps the probability, and then goes through it as through a list of channels: a TypeError at the first
        # measurement (pennylane 0.45, devices/qubit_mixed/measure.py).
        device.readout_err = [partial(qml.BitFlip, float(device.readout_err))]
    return device


def _check_precision(name: str, able: Abilities, precision: str) -> None:
    if precision == "single" and not able.single:
        offered = [name for name, entry in KNOWN.items() if entry.single]
        raise ValueError(f"precision='single' is not offered by {name}. Use one of {offered}, or precision='double'.")


def _takes_jobs(device: Any) -> bool:
    """Whether an object is a `Service` already."""
    return hasattr(device, "submit") and hasattr(device, "find")


def open_service(device: Any, precision: str = "double") -> Service:
    """A device as a place that takes jobs.

    Another package adds one by an entry point of the group `varq.device`: a function of a name and options that
    returns a `Service`.

    Args:
        device: a name, a `varq.device(...)`, a PennyLane device object, or a `Service`.
        precision: "double" or "single".

    Warns:
        UserWarning: if its samples differ from run to run, since varq cannot seed them.

    Raises:
        ValueError: for an unknown name, or a precision that the device lacks.
        ModuleNotFoundError: if the extra that the device needs is not installed; names it.
    """
    service = _service(device, precision)
    if not service.paid and not getattr(service, "seeded", True):
        warnings.warn(
            f"varq cannot set the random seed of {service.name}: its samples differ from run to run. "
            "varq.qubit, lightning.qubit and default.qubit draw the same ones again.",
            stacklevel=2,
        )
    return service


def _service(device: Any, precision: str) -> Service:
    if _takes_jobs(device):
        service: Service = device
        return service
    name = called(device)
    row = _vendor(name)
    if row is not None:
        options = device.arguments if isinstance(device, Device) else {}
        opened_service: Service = names.find("device", row)(name, **options)
        return opened_service
    own = isinstance(device, (str, Device))
    seeded = KNOWN.get(name, Abilities(_SHIFT)).seeded or (not own and hasattr(device, "reseed"))

    def opened(wires: int) -> Any:
        return open_device(device, wires, precision).device

    return LocalService(name, opened, _reseed if seeded else None)


def _reseed(device: Any, seed: int) -> None:
    """Give a device a fresh generator, so that what it ran before does not change what it draws next."""
    if hasattr(device, "reseed"):
        device.reseed(seed)
        return
    device._rng = np.random.default_rng(seed)
    # lightning.qubit hands its generator to a state vector that outlives a circuit
    # (pennylane-lightning 0.45, lightning_qubit/_measurements.py).
    state = getattr(device, "_statevector", None)
    if state is not None:
        state._rng = device._rng


def _wrap(device: Any, wires: int) -> OpenDevice:
    checks.instance("device", device, qml.devices.Device, hint="Give a PennyLane device or its name.")
    if device.wires is not None and not set(range(wires)) <= set(device.wires):
        raise ValueError(f"device must have the wires 0 to {wires - 1}. Got wires {list(device.wires)}.")
    abilities = KNOWN.get(device.name, Abilities(_SHIFT))
    return OpenDevice(device.name, device, abilities)
