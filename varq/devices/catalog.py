"""Devices by name: how each is opened, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pennylane as qml

from varq import checks, names

__all__ = ["DEFAULT", "KNOWN", "Abilities", "OpenDevice", "known", "open_device"]

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
    """

    gradient: str
    analytic: bool = True
    seeded: bool = False
    single: bool = False


KNOWN = MappingProxyType(
    {
        "varq.qubit": Abilities("jax", seeded=True, single=True),
        "lightning.qubit": Abilities("adjoint", seeded=True, single=True),
        # Its own adjoint method takes 20 s for a 12-qubit UCCSD gradient where backprop takes 3 s.
        "default.qubit": Abilities("backprop", seeded=True),
    }
)
"""Abilities of the devices that varq tests.  Any other PennyLane device works from its values alone."""


@dataclass(frozen=True)
class OpenDevice:
    """A PennyLane device ready to run circuits, and its abilities."""

    name: str
    device: Any
    abilities: Abilities

    def reseed(self, seed: int) -> None:
        """Give the device a fresh generator, so that what it ran before does not change what it draws next."""
        if hasattr(self.device, "reseed"):
            self.device.reseed(seed)
        elif self.abilities.seeded:
            self.device._rng = np.random.default_rng(seed)
            # lightning.qubit hands its generator to a state vector that outlives a circuit
            # (pennylane-lightning 0.45, lightning_qubit/_measurements.py).
            state = getattr(self.device, "_statevector", None)
            if state is not None:
                state._rng = self.device._rng


def known(name: str) -> str:
    """`name` if PennyLane has a device of that name; otherwise ValueError that lists the close ones."""
    installed = sorted({*qml.plugin_devices, *KNOWN, *names.names("device")})
    return checks.choice("device", name, installed, hint="Run `varq doctor` to see the plug-ins found on this machine.")


def open_device(device: Any, wires: int, precision: str = "double") -> OpenDevice:
    """Open a device on wires 0 .. wires-1.

    Another package adds a device by an entry point of the group `varq.device`: a function of (wires, precision) that
    returns an `OpenDevice`.

    Args:
        device: a PennyLane device name, or a PennyLane device object.
        wires: how many wires it must have.
        precision: "double" or "single".

    Raises:
        ValueError: for an unknown name, a device object with other wires, or a precision that the device lacks.
    """
    if not isinstance(device, str):
        return _wrap(device, wires)
    if device in names.names("device"):
        opened: OpenDevice = names.find("device", device)(wires, precision)
        return opened
    abilities = KNOWN.get(known(device), Abilities("parameter-shift"))
    if precision == "single" and not abilities.single:
        able = [name for name, entry in KNOWN.items() if entry.single]
        raise ValueError(f"precision='single' is not offered by {device}. Use one of {able}, or precision='double'.")
    options: dict[str, Any] = {}
    if precision == "single":
        options = {"precision": "single"} if device == DEFAULT else {"c_dtype": np.complex64}
    return OpenDevice(device, qml.device(device, wires=wires, **options), abilities)


def _wrap(device: Any, wires: int) -> OpenDevice:
    checks.instance("device", device, qml.devices.Device, hint="Give a PennyLane device or its name.")
    if device.wires is not None and not set(range(wires)) <= set(device.wires):
        raise ValueError(f"device must have the wires 0 to {wires - 1}. Got wires {list(device.wires)}.")
    abilities = KNOWN.get(device.name, Abilities("parameter-shift"))
    return OpenDevice(device.name, device, abilities)
