"""Devices by name: how each is opened, and what it can do."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from types import MappingProxyType
from typing import Any, overload

import numpy as np
import pennylane as qml

from varq import checks, names
from varq.devices.choice import Device, Given
from varq.devices.local import LocalService
from varq.devices.service import Service
from varq.devices.several import Spread
from varq.devices.untouched import Untouched

__all__ = [
    "DEFAULT",
    "FAMILIES",
    "KNOWN",
    "PERMUTATION",
    "REMOTE",
    "VENDORS",
    "Abilities",
    "OpenDevice",
    "abilities",
    "called",
    "device",
    "known",
    "open_device",
    "open_service",
    "spread",
    "usable",
]

DEFAULT = "varq.qubit"

PERMUTATION = "permutation"
"""Takes the jobs of order finding, whose circuits bring programs of their own; it is no device for anything else."""


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
        middle: whether it runs circuits whose angles follow from what was measured in their middle.
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
    middle: bool = False


KNOWN = MappingProxyType(
    {
        "varq.qubit": Abilities("jax", seeded=True, single=True, middle=True),
        "lightning.qubit": Abilities("adjoint", seeded=True, single=True),
        # Its own adjoint method takes 20 s for a 12-qubit UCCSD gradient where backprop takes 3 s.
        "default.qubit": Abilities("backprop", seeded=True),
        # Backpropagation through its channels divides by zero where a state is pure (autograd's square root).
        "default.mixed": Abilities("parameter-shift", seeded=True, noise=True),
    }
)
"""Abilities of the PennyLane devices that varq tests.  Any other works from its values alone."""

REMOTE = ("qiskit.remote", "ionq.*", "braket.aws.*")
"""PennyLane devices that send circuits to machines of somebody's account, by name (`*` stands for any text).

The names are those under which pennylane-qiskit, pennylane-ionq and amazon-braket-pennylane-plugin enter them.
"""

_SHIFT = "parameter-shift"
VENDORS = MappingProxyType(
    {
        "qiskit-aer": Abilities(_SHIFT, False, seeded=True, jobs="jobs", extra="aer"),
        "ibm.fake": Abilities(_SHIFT, False, noise=True, jobs="jobs", extra="ibm"),
        "ibm": Abilities(_SHIFT, False, noise=True, jobs="jobs", sessions=True, paid=True, extra="ibm"),
        "braket.local": Abilities(_SHIFT, False, seeded=True, jobs="jobs", extra="braket"),
        "braket.local_dm": Abilities(_SHIFT, False, seeded=True, noise=True, jobs="jobs", extra="braket"),
        "braket.emulator": Abilities(_SHIFT, False, noise=True, jobs="jobs", extra="braket"),
        "braket": Abilities(_SHIFT, False, noise=True, jobs="jobs", paid=True, extra="braket"),
    }
)
"""Abilities of the devices that take jobs, by the beginning of their names; the longest beginning counts.

An option `noise` makes one of them noisy.
"""

FAMILIES = MappingProxyType({"ibm.fake": "ibm.fake_*", "ibm": "ibm.*", "braket": "braket.*/*"})
"""The rows of `VENDORS` that stand for many machines and are none, with what the machines' names look like."""


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
    if name.startswith("ibm.ibm_"):
        own = f"ibm.{name.removeprefix('ibm.ibm_')}"
        raise ValueError(
            f"A machine has one name, so that equal runs have one id. Got {name!r}, which is {own!r} here. Write that."
        )
    if _vendor(name) is not None:
        return name
    installed = sorted({*qml.plugin_devices, *KNOWN, *VENDORS, *names.names("device")})
    return checks.choice("device", name, installed, hint="Run `varq doctor` to see the plug-ins found on this machine.")


@overload
def device(
    name: str,
    *,
    mode: str = "job",
    layout: tuple[int, ...] | None = None,
    account: str | None = None,
    instance: str | None = None,
    limits: Mapping[str, int] | None = None,
    paid: bool | None = None,
    **options: Any,
) -> Device:
    """One that is named."""


@overload
def device(name: qml.devices.Device, *, paid: bool) -> Given:
    """One that is there."""


def device(
    name: Any,
    *,
    mode: str = "job",
    layout: tuple[int, ...] | None = None,
    account: str | None = None,
    instance: str | None = None,
    limits: Mapping[str, int] | None = None,
    paid: bool | None = None,
    **options: Any,
) -> Device | Given:
    """A device with options, for a session or a spec.

    Args:
        name: "varq.qubit", "ibm.fake_torino", "ibm.torino", "braket.local", ...: `varq devices` lists them; or a
            PennyLane device object, which has its options already, with `paid`.
        mode: how jobs travel to a vendor: "job", "batch" or "session".
        layout: the machine's qubits for wires 0, 1, ...
        account: the name of an account that was saved with the vendor's own tool.
        instance: the vendor's instance that pays.
        limits: of a job, where they are to be lower than the device's own, by the names of
            `varq.devices.service.Limits`: {"circuits": 50} sends more jobs, {"depth": 200} refuses deeper circuits.
        paid: of a PennyLane device, whether it reaches a machine that costs something.  Each of its jobs is then
            written down before it is sent, what it measured is kept, and none is sent twice: one that a crash left
            open waits until a person has settled it.  None for what varq knows: `REMOTE` lists those that are.
        options: what else the device takes: `varq.devices.ibm.open_ibm`, `varq.devices.braket.open_braket` and
            `varq.devices.aer.open_aer` say what.

    Raises:
        TypeError: for a limit that is no integer, or something else than a name or a PennyLane device.
        ValueError: for an unknown name, mode or limit, an option that looks like a credential, options of an object,
            or `paid` of a device that tells that itself.

    Example:
        >>> device("ibm.torino", mode="session", layout=(3, 4)).arguments
        {'layout': (3, 4), 'mode': 'session'}
        >>> abilities(device("reference.qubit", paid=True)).paid
        True
    """
    if not isinstance(name, str):
        said = {"mode": mode != "job", "layout": layout, "account": account, "instance": instance, "limits": limits}
        return _given(name, paid, [*(word for word, value in said.items() if value), *options])
    if paid is not None and _vendor(name) is not None:
        raise ValueError(
            f"paid says of a PennyLane device what it does not tell itself. Got paid={paid!r} for {name}, which tells. "
            "Leave it out."
        )
    given = MappingProxyType(dict(options))
    return Device(known(checks.text("name", name)), layout, given, mode, account, instance, limits or {}, paid)


def _given(device: Any, paid: bool | None, others: Sequence[str]) -> Given:
    """A device object, of which is said what it costs."""
    checks.instance("name", device, qml.devices.Device, hint="Give a PennyLane device or its name.")
    if others or paid is None:
        raise ValueError(
            "Of a device object, paid=True or paid=False is said and nothing else: it was made with its options. "
            f"Got {', '.join(others) or 'nothing'}. Give the object as it is, or the device's name with its options."
        )
    return Given(device, checks.boolean("paid", paid))


def spread(*devices: Any, by: str = "auto", weights: Sequence[float] | None = None) -> Spread:
    """Several devices that answer each request of a run together, as one device of a session or a spec.

    Circuits that differ in their numbers alone (the shifts of a gradient, the two sides of SPSA) are subtracted from
    one another; on machines of different noise, one here and one there, even equal energies would differ.  So these
    keep together: all of them run whole on one device, or each runs on every device with a part of its shots.
    With `by="auto"` they run whole where that gives no device more than 1.25 times its part of a request's shots, and
    otherwise each circuit is split, if that leaves 64 shots to each device.  "circuits" balances whole circuits one by
    one, whatever is subtracted from what; "shots" splits all that have shots enough.  What goes where follows from the
    request alone: not from what else waits, or from who answers first.

    Energies and gradients of a circuit that ran on several devices are weighed by their inverse variances, without a
    bias (`varq.estimation.weighing.weighed` derives that); bits that are asked for as such are put together, so that
    each shot counts alike.  Machines have different errors: the result is a weighted mean of them, and the session's
    ledger says which part came from where.  Each device keeps its own jobs, limits, retries, price and seeds; the
    budget is that of the session.  If one is lost, its unfinished circuits go to the others.

    Args:
        devices: names, `varq.device(...)`, PennyLane device objects or services; at least two, each once.
        by: "auto", "circuits" or "shots".
        weights: the part of the shots that each device is to take, in any unit; None for equal parts.

    Raises:
        ValueError: for an unknown device, fewer than two, one twice, another `by`, or weights that do not fit.
        TypeError: for something else than devices.

    Example:
        >>> spread("ibm.fake_torino", "braket.local", weights=(2, 1)).name
        'spread(ibm.fake_torino, braket.local)'
    """
    found: Spread = usable(Spread(devices, by, None if weights is None else tuple(weights)))
    return found


def usable(device: Any) -> Any:
    """`device` if it is one: a name that is known, a `varq.device(...)`, a spread of devices, a PennyLane device object
    or a `Service`.
    """
    if isinstance(device, Spread):
        for one in device.devices:
            usable(one)
    elif isinstance(device, (str, Device)):
        known(called(device))
    elif not _takes_jobs(device) and not isinstance(device, Given):
        checks.instance("device", device, qml.devices.Device, hint="Give a PennyLane device or its name.")
    return device


def abilities(device: Any) -> Abilities:
    """What a device can do, as far as its name and options tell; a spread, what all of its devices can.

    Example:
        >>> abilities("qiskit-aer").noise, abilities(device("qiskit-aer", noise="fake_manila")).noise
        (False, True)
    """
    if isinstance(device, Spread):
        each = [abilities(one) for one in device.devices]
        return Abilities(
            _SHIFT,
            False,
            seeded=all(one.seeded for one in each),
            noise=any(one.noise for one in each),
            jobs="jobs",
            sessions=any(one.sessions for one in each),
            paid=any(one.paid for one in each),
            middle=all(one.middle for one in each),
        )
    name = called(device)
    if _takes_jobs(device):
        able = _named(name)
        return replace(able, paid=bool(device.paid), noise=bool(getattr(device, "noisy", able.noise)))
    if _vendor(device) is not None:
        able = _named(name)
        added = isinstance(device, Device) and device.options.get("noise") is not None
        return replace(able, noise=able.noise or added)
    able = KNOWN.get(name, Abilities(_SHIFT))
    # What stands behind it is a machine, of which nothing is known but its samples.
    return replace(able, analytic=False, noise=True, paid=True, middle=False) if _paid(device) else able


def _named(name: str) -> Abilities:
    """Of what takes jobs, by its name alone."""
    near = max((start for start in VENDORS if name.startswith(start)), key=len, default=None)
    if _vendor(name) is not None:
        return Abilities(_SHIFT, False, noise=True, jobs="jobs", paid=True) if near is None else VENDORS[near]
    return KNOWN.get(name, Abilities(_SHIFT))


def _paid(device: Any) -> bool:
    """Whether a PennyLane device reaches a machine that costs something, as far as it was said or is known."""
    said = device.paid if isinstance(device, (Device, Given)) else None
    return any(fnmatchcase(called(device), row) for row in REMOTE) if said is None else bool(said)


def _vendor(device: Any) -> str | None:
    """The row of `varq.names` that opens a device which takes jobs: its whole name, or what stands before the dot.

    A name that a PennyLane plug-in has entered is the plug-in's, and an object is nobody's but its own.
    """
    if not isinstance(device, (str, Device)):
        return None
    name, rows = called(device), names.names("device")
    if name in rows:
        return name
    return next((row for row in (name.split(".")[0],) if row in rows and name not in qml.plugin_devices), None)


def open_device(device: Any, wires: int, precision: str = "double") -> OpenDevice:
    """A device for tracing circuits on wires 0 .. wires-1.

    Args:
        device: a name, a `varq.device(...)`, a spread, a PennyLane device object, or a `Service`.
        wires: how many wires it must have.
        precision: "double" or "single".

    Raises:
        ValueError: for an unknown name, a device object with other wires, or a precision that the device lacks.
    """
    name = called(device)
    if isinstance(device, Spread) or _takes_jobs(device) or _vendor(device) is not None:
        _check_precision(name, abilities(device), precision)
        return OpenDevice(name, Untouched(name), abilities(device))
    if not isinstance(device, (str, Device)):
        return _wrap(device, wires)
    known(name)
    able = abilities(device)
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


def open_service(device: Any, precision: str = "double", any_gates: bool = False) -> Service:
    """A device as a place that takes jobs.

    Another package adds one by an entry point of the group `varq.device`: a function of a name and options that
    returns a `Service`.

    Args:
        device: a name, a `varq.device(...)`, a PennyLane device object, or a `Service`.
        precision: "double" or "single".
        any_gates: whether a device of this process is given circuits that are not written in its own gates.

    Warns:
        UserWarning: if its samples differ from run to run, since varq cannot seed them.

    Raises:
        ValueError: for an unknown name, a precision that the device lacks, or a spread, whose devices a session opens.
        ModuleNotFoundError: if the extra that the device needs is not installed; names it.
    """
    if isinstance(device, Spread):
        raise ValueError(
            f"Circuits reach the devices of {device.name} through a session, which shares them out. "
            "Use varq.run(spec), or Session(device).submit(tapes)."
        )
    service = _service(device, precision, any_gates)
    if not service.paid and not getattr(service, "seeded", True):
        warnings.warn(
            f"varq cannot set the random seed of {service.name}: its samples differ from run to run. "
            "varq.qubit, lightning.qubit and default.qubit draw the same ones again.",
            stacklevel=2,
        )
    return service


def _service(device: Any, precision: str, any_gates: bool) -> Service:
    if _takes_jobs(device):
        service: Service = device
        return service
    name = called(device)
    if device == PERMUTATION:
        return LocalService(name, lambda wires: None, lambda device, seed: None)
    row = _vendor(device)
    if row is not None:
        options = device.arguments if isinstance(device, Device) else {}
        opened_service: Service = names.find("device", row)(name, **options)
        return opened_service
    able = abilities(device)
    seeded = able.seeded or hasattr(_object(device), "reseed")

    def opened(wires: int) -> Any:
        return open_device(device, wires, precision).device

    return LocalService(name, opened, _reseed if seeded else None, able.paid, any_gates, able.middle)


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


def _object(device: Any) -> Any:
    """A device object without what was said of it."""
    return device.device if isinstance(device, Given) else device


def _wrap(given: Any, wires: int) -> OpenDevice:
    device = _object(given)
    checks.instance("device", device, qml.devices.Device, hint="Give a PennyLane device or its name.")
    if device.wires is not None and not set(range(wires)) <= set(device.wires):
        raise ValueError(f"device must have the wires 0 to {wires - 1}. Got wires {list(device.wires)}.")
    return OpenDevice(device.name, device, abilities(given))
