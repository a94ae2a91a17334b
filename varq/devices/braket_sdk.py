"""The one place that imports the Amazon Braket SDK: what varq uses of it, and simulators that follow a seed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from varq import checks

__all__ = ["FIDELITIES", "SIMULATORS", "Sdk", "emulator", "load", "noise_model", "seeded_simulator"]

SIMULATORS = ("braket_sv", "braket_dm")
"""State vector and density matrix, by the names that Braket's `LocalSimulator` knows."""

FIDELITIES = {"one_qubit": 0.9995, "two_qubit": 0.995, "readout": 0.997}
"""Average gate and readout fidelities of `braket.emulator`: round numbers of our own, as of good trapped ions."""

_RATES = ("one_qubit", "two_qubit", "readout")


@dataclass(frozen=True)
class Sdk:
    """The names of the SDK that varq uses, so that no other module imports it."""

    Circuit: Any
    FreeParameter: Any
    ProgramSet: Any
    Program: Any
    LocalSimulator: Any
    NoiseModel: Any
    AwsDevice: Any
    AwsSession: Any
    Schema: Any
    ArnTable: Any
    RemoveVerbatim: Any
    boto_session: Any
    config: Any


@cache
def load() -> Sdk:
    """The SDK, imported on the first call: that takes seconds.

    Raises:
        ModuleNotFoundError: if it is not installed; the text says which extra has it.
    """
    try:
        from boto3 import Session
        from botocore.config import Config
        from braket.aws import AwsDevice, AwsSession
        from braket.circuits import Circuit, FreeParameter
        from braket.circuits.noise_model import NoiseModel
        from braket.devices import Devices, LocalSimulator
        from braket.emulation.passes.circuit_passes import RemoveVerbatimTransformation
        from braket.ir.openqasm import Program
        from braket.program_sets import ProgramSet
        from braket.schema_common import BraketSchemaBase
    except ModuleNotFoundError as error:
        raise checks.missing_extra("amazon-braket-sdk", "braket", "A device of Amazon Braket") from error
    return Sdk(
        Circuit=Circuit,
        FreeParameter=FreeParameter,
        ProgramSet=ProgramSet,
        Program=Program,
        LocalSimulator=LocalSimulator,
        NoiseModel=NoiseModel,
        AwsDevice=AwsDevice,
        AwsSession=AwsSession,
        Schema=BraketSchemaBase,
        ArnTable=Devices,
        RemoveVerbatim=RemoveVerbatimTransformation,
        boto_session=Session,
        config=Config,
    )


def seeded_simulator(backend: str) -> Any:
    """Braket's local simulator `backend` with an attribute `seeds`: one for each simulation to come.

    Braket makes an unseeded generator for each simulation (amazon-braket-default-simulator 1.41,
    state_vector_simulation.py and density_matrix_simulation.py) and takes no seed.  Here each simulation gets the next
    seed's own generator instead, so that what a circuit gives does not depend on the circuits beside it.

    Raises:
        RuntimeError: in a simulation, if this version of Braket keeps its generator elsewhere, or no seed is left.
    """
    load()
    from braket.default_simulator import DensityMatrixSimulator, StateVectorSimulator

    base: Any = {"braket_sv": StateVectorSimulator, "braket_dm": DensityMatrixSimulator}[backend]

    class Seeded(base):  # type: ignore[misc]
        seeds: deque[int]

        def initialize_simulation(self, **options: Any) -> Any:
            simulation = super().initialize_simulation(**options)
            if not hasattr(simulation, "_rng_generator"):
                raise RuntimeError(
                    "This version of amazon-braket-default-simulator does not keep its random numbers where varq seeds "
                    "them. Install one that the extra 'braket' of varq allows."
                )
            if not self.seeds:
                raise RuntimeError("Braket simulated more circuits than were sent.")
            simulation._rng_generator = np.random.default_rng(self.seeds.popleft())
            return simulation

        def _validate_program_set_instructions_compatibility(self, program_set: Any) -> None:
            """Nothing: each circuit is validated again when it runs, and parsing them twice doubles the time."""

    made = Seeded()
    made.seeds = deque()
    return made


def noise_model(noise: Any) -> Any:
    """A Braket noise model from probabilities, or the one that is given.

    Args:
        noise: a `braket.circuits.noise_model.NoiseModel`, or a mapping with some of the keys "one_qubit", "two_qubit"
            (probability of a depolarizing error after each gate of that size) and "readout" (of a wrong bit).

    Raises:
        TypeError: for anything else.
        ValueError: for an unknown key or a number outside [0, 1].
    """
    sdk = load()
    if isinstance(noise, sdk.NoiseModel):
        return noise
    rates = _fractions("noise", noise)
    if not any(rates.values()):
        raise ValueError(
            "noise must hold a probability above 0. Got none. Use 'braket.local' to simulate without noise."
        )
    from braket.circuits import Gate, noises
    from braket.circuits.noise_model import GateCriteria, MeasureCriteria

    sizes: dict[int, list[Any]] = {1: [], 2: []}
    for gate in _gate_classes(Gate):
        sizes.get(gate.fixed_qubit_count(), []).append(gate)
    model = sdk.NoiseModel()
    if rates.get("one_qubit"):
        model.add_noise(noises.Depolarizing(rates["one_qubit"]), GateCriteria(sizes[1]))
    if rates.get("two_qubit"):
        model.add_noise(noises.TwoQubitDepolarizing(rates["two_qubit"]), GateCriteria(sizes[2]))
    if rates.get("readout"):
        model.add_noise(noises.BitFlip(rates["readout"]), MeasureCriteria())
    return model


def _gate_classes(base: Any) -> list[Any]:
    """Every gate of the SDK that has a size of its own."""
    found = [gate for gate in vars(base).values() if isinstance(gate, type) and issubclass(gate, base)]
    return [gate for gate in found if gate.__name__ not in ("Unitary", "PulseGate")]


def _fractions(name: str, given: Any) -> dict[str, float]:
    """A mapping of the three kinds of error to numbers in [0, 1]."""
    checks.instance(name, given, Mapping, hint="Give a mapping such as {'one_qubit': 0.001, 'readout': 0.01}.")
    return {
        checks.choice(f"a key of {name}", key, _RATES): checks.real(f"{name}[{key!r}]", value, minimum=0, maximum=1)
        for key, value in given.items()
    }


def emulator(wires: int, simulator: Any, properties: Any = None, fidelities: Any = None) -> tuple[Any, frozenset[str]]:
    """Braket's `LocalEmulator` and its native gates, by their Braket names.

    Args:
        wires: of the machine that is made where no `properties` are given: every pair of its wires is connected, its
            native gates are rx, ry, rz and cz, and its errors are those of `fidelities`.
        simulator: that does the work, a density matrix.
        properties: of a machine of your own, a `DeviceEmulatorProperties` or the `DeviceCapabilities` of a device.
        fidelities: what to change in `FIDELITIES`: average gate fidelities, and that of reading a bit.
    """
    load()
    from braket.emulation.device_emulator_properties import DeviceEmulatorProperties
    from braket.emulation.local_emulator import LocalEmulator

    if properties is None:
        properties = _ions(wires, FIDELITIES | _fractions("fidelities", fidelities or {}))
    elif fidelities is not None:
        raise ValueError("fidelities must not be given with properties. Got both. Write them into the properties.")
    if not isinstance(properties, DeviceEmulatorProperties):
        properties = DeviceEmulatorProperties.from_device_properties(properties)
    made = LocalEmulator.from_device_properties(properties, backend=simulator)
    return made, frozenset(gate.lower() for gate in properties.native_gate_set)


def _ions(wires: int, fidelities: Mapping[str, float]) -> Any:
    """Properties of a machine whose wires are all connected and alike."""
    from braket.device_schema.result_type import ResultType
    from braket.device_schema.standardized_gate_model_qpu_device_properties_v1 import (
        OneQubitProperties,
        TwoQubitProperties,
    )
    from braket.emulation.device_emulator_properties import DeviceEmulatorProperties

    def fidelity(name: str, value: float) -> dict[str, Any]:
        return {"fidelityType": {"name": name}, "fidelity": value}

    single = OneQubitProperties.parse_obj(
        {
            # Times of coherence are asked for and not used: the emulator's noise comes from the fidelities alone.
            "T1": {"value": 1.0, "unit": "S"},
            "T2": {"value": 1.0, "unit": "S"},
            "oneQubitFidelity": [
                fidelity("RANDOMIZED_BENCHMARKING", fidelities["one_qubit"]),
                fidelity("READOUT", fidelities["readout"]),
            ],
        }
    )
    pair = TwoQubitProperties.parse_obj(
        {"twoQubitGateFidelity": [{"gateName": "CZ"} | fidelity("RANDOMIZED_BENCHMARKING", fidelities["two_qubit"])]}
    )
    labels = [str(wire) for wire in range(wires)]
    return DeviceEmulatorProperties(
        qubitCount=wires,
        nativeGateSet=["rx", "ry", "rz", "cz"],
        connectivityGraph={label: [other for other in labels if other != label] for label in labels},
        oneQubitProperties=dict.fromkeys(labels, single),
        twoQubitProperties={f"{a}-{b}": pair for b in labels for a in labels if int(a) < int(b)},
        supportedResultTypes=[ResultType(name="Probability", minShots=1, maxShots=10**6)],
    )


def known_arns() -> Iterable[str]:
    """The ARNs of the devices that the SDK lists, retired ones too."""
    for group in vars(load().ArnTable).values():
        if isinstance(group, type):
            yield from (str(member) for member in group)  # type: ignore[attr-defined]
