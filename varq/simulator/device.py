"""The PennyLane device `varq.qubit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pennylane as qml
from autograd.tracer import isbox
from pennylane.devices import Device, ExecutionConfig, MCMConfig
from pennylane.devices.modifiers import simulator_tracking, single_tape_support
from pennylane.exceptions import DeviceError
from pennylane.math import Interface
from pennylane.measurements import CountsMP
from pennylane.ops import Snapshot
from pennylane.tape import QuantumScript
from pennylane.transforms.core import CompilePipeline
from pennylane.wires import Wires

from varq.simulator import compile_cache, interfaces, preprocessing
from varq.simulator.measured.execution import MOST_BRANCHES, flip_chances
from varq.simulator.measurements import alone, finish
from varq.simulator.midcircuit import run_measured
from varq.simulator.paths import Options
from varq.simulator.precision import DTYPES
from varq.simulator.programs import Taken, take_apart
from varq.simulator.scans import STORED
from varq.simulator.seeds import Seeds
from varq.simulator.shadows import SHADOWS, draw_recipes
from varq.simulator.shifts import only_followed_outside, shift_rule
from varq.simulator.slopes import check_method, fewest_shots

__all__ = ["VarqQubit"]

_EXACT = ("best", "device", "backprop", "adjoint")
_JAX = (Interface.JAX, Interface.JAX_JIT)
_MEASURED = ("postselect_mode", "readout_error", "max_branches", "stored_bytes")


@simulator_tracking
@single_tape_support
class VarqQubit(Device):  # type: ignore[misc]
    """A state-vector simulator that compiles circuits by their structure, `qml.device("varq.qubit")`.

    Args:
        wires: a number of wires, their labels, or None for those of each circuit.
        shots: a default number of shots; prefer `qml.set_shots`.
        seed: of finite shots: an integer, None (the system's entropy), "global" (NumPy's global generator), or a JAX
            key, which makes results a pure function of it.  A key may be traced.  The bases of classical shadows are
            drawn with it too where it is a key or JAX traces the circuit; elsewhere by the seed of each shadow, as
            PennyLane does.  (A shadow's own seed cannot serve there: where none is given, PennyLane fills one in.)
        precision: "double" or "single".  Double is computed whatever JAX's x64 flag says, and so are derivatives of
            expectation values of Pauli sums, of circuits with measurements in their middle, and all that NumPy and
            autograd ask for.  JAX's derivatives of anything else (states, probabilities, variances, entropies, and
            circuits with a matrix that is not known to be unitary) are computed in single where the flag is off:
            turn it on for them, or differentiate inside `varq.precision.double()`.
        stored_bytes: how many bytes of intermediate states a gradient may keep; beyond, they are computed anew, which
            takes the states of about twice the square root of the steps.  Each element of a batch (of parameters, or
            of `jax.vmap`) keeps its own.
        readout_error: the probability that the outcome of `qml.measure` is recorded, and so fed forward, wrongly; for
            all wires, or as a mapping from a wire's label to such a number, to a pair (0 recorded as 1, 1 recorded as
            0) or to a 2x2 matrix whose entry [i, j] is the probability to record i where j was found.  The state is
            not affected, nor are measurements at the end.  A circuit takes what concerns its wires.  None for none.
        max_branches: how many branches of outcomes are summed where shots are None.
        cache: whether compiled programs are kept on disk for later processes; see `varq.simulator.compile_cache`.

    Raises:
        ValueError: if an argument is none of these.

    Example:
        >>> import pennylane as qml
        >>> @qml.qnode(qml.device("varq.qubit", wires=2))
        ... def circuit(angle):
        ...     qml.RY(angle, wires=0)
        ...     qml.CNOT(wires=[0, 1])
        ...     return qml.expval(qml.Z(1))
        >>> float(circuit(0.0))
        1.0
    """

    _device_options = ("stored_bytes", "readout_error", "max_branches", "precision")

    def __init__(
        self,
        wires: Any = None,
        shots: Any = None,
        seed: Any = "global",
        *,
        precision: str = "double",
        stored_bytes: int = STORED,
        readout_error: Any = None,
        max_branches: int = MOST_BRANCHES,
        cache: bool = True,
    ) -> None:
        super().__init__(wires=wires, shots=shots)
        self._precision = _CHECKS["precision"](precision)
        self._stored_bytes = _CHECKS["stored_bytes"](stored_bytes)
        self._max_branches = _CHECKS["max_branches"](max_branches)
        self._readout_error = self._of_own_wires(_CHECKS["readout_error"](readout_error))
        self._seeds = Seeds(seed)
        self._debugger: Any = None  # set by qml.snapshots while it looks
        if not isinstance(cache, bool):
            raise ValueError(f"cache must be True or False. Got {cache!r}.")
        if cache:
            compile_cache.enable()

    def reseed(self, seed: Any) -> None:
        """Start the random numbers of finite shots anew.

        Args:
            seed: an integer, None, "global" or a JAX key, as the constructor takes it.

        Raises:
            ValueError: if it is none of these.
        """
        self._seeds = Seeds(seed)

    @property
    def name(self) -> str:
        """The device's name."""
        return "varq.qubit"

    def supports_derivatives(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """Exact derivatives wherever results are exact; of measured circuits through JAX and autograd alone."""
        if execution_config is None:
            return True
        if execution_config.gradient_method not in _EXACT or (circuit is not None and circuit.shots):
            return False
        deferred = execution_config.mcm_config.mcm_method == "deferred"
        alone = circuit is None or deferred or not preprocessing.is_measured(circuit)
        return alone or _through(execution_config)

    def supports_vjp(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """As `supports_derivatives`."""
        return self.supports_derivatives(execution_config, circuit)

    def supports_jvp(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """As `supports_derivatives`."""
        return self.supports_derivatives(execution_config, circuit)

    def setup_execution_config(
        self, config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> ExecutionConfig:
        """The configuration with this device's choices filled in.

        Raises:
            DeviceError: for an unknown device option, or a way to measure in the middle that is none of this device.
            ValueError: for an option that has no such value, or differences of samples that show only their noise.
        """
        config = config or ExecutionConfig()
        if circuit is not None and circuit.shots:
            check_method(config.gradient_method, config.gradient_keyword_arguments, fewest_shots(circuit.shots))
        changed: dict[str, Any] = {"device_options": self._options_of(config)}
        # JAX and autograd differentiate through `execute` itself; other frameworks ask for products with the Jacobian.
        through = _through(config)
        # An angle computed from an outcome is no number that could be converted.
        changed["convert_to_numpy"] = config.interface not in _JAX and not preprocessing.has_outcomes(circuit)
        if config.gradient_method in _EXACT:
            changed["gradient_method"] = "backprop" if through else "adjoint"
            changed["use_device_gradient"] = True
            changed["use_device_jacobian_product"] = not through
            changed["grad_on_execution"] = False
        elif config.gradient_method is qml.gradients.param_shift:
            changed["gradient_method"] = shift_rule(config.derivative_order)
        changed["mcm_config"] = self._setup_measured(config.mcm_config)
        return replace(config, **changed)

    def _options_of(self, config: ExecutionConfig) -> dict[str, Any]:
        options = {name: getattr(self, f"_{name}") for name in self._device_options}
        for option, value in config.device_options.items():
            if option not in options:
                raise DeviceError(f"device option {option} is unknown to {self.name}. Options: {sorted(options)}.")
            options[option] = _CHECKS[option](value)
        self._of_own_wires(options["readout_error"])
        return options

    def _of_own_wires(self, readout: Any) -> Any:
        """A readout error whose labels this device has, as far as it knows its wires."""
        if isinstance(readout, Mapping) and self.wires is not None:
            unknown = [w for w in readout if w not in self.wires]
            if unknown:
                raise ValueError(
                    f"readout_error must name wires of its device. Got {unknown}, where the device has "
                    f"{self.wires.tolist()}. Leave them out, or give the device more wires."
                )
        return readout

    def _setup_measured(self, config: MCMConfig) -> MCMConfig:
        method = config.mcm_method or "device"
        if method not in (*preprocessing.NATIVE, "deferred"):
            raise DeviceError(
                f"mcm_method {method} is not supported on {self.name}. Leave it out, or take one of "
                f"{(*preprocessing.NATIVE, 'deferred')}."
            )
        return replace(config, mcm_method=method)

    def preprocess_transforms(self, execution_config: ExecutionConfig | None = None) -> CompilePipeline:
        """What tapes go through before `execute`."""
        return preprocessing.pipeline(execution_config or ExecutionConfig(), self.wires, self.name)

    def execute(self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None = None) -> Any:
        """The results of circuits, in the caller's kind of arrays.

        Args:
            circuits: preprocessed; angles in radians.
            execution_config: resolved by `setup_execution_config`.

        Returns:
            One entry for each circuit: the result of its only measurement or a tuple of results; with a shot vector a
            tuple of these, one for each entry.  Each has PennyLane's shape, behind the batch axis if there is one.

        Raises:
            DeviceError: for what this device cannot run; names it and the way out.
            ValueError: for more branches of outcomes than `max_branches`.
        """
        config = execution_config or ExecutionConfig()
        options = self.options(config.device_options)
        taken = [None if preprocessing.is_measured(c) else take_apart(c, options) for c in circuits]
        words: Any = None
        if any(c.shots for c in circuits):
            words = self._seeds.next([n for c in circuits for n in c.get_parameters(trainable_only=False)])
        results = []
        for place, (circuit, parts) in enumerate(zip(circuits, taken, strict=True)):
            if self._debugger is not None and self._debugger.active:
                self._take_snapshots(circuit, config)
            if parts is None:
                own = self.measured_options(config)
                results.append(run_measured(circuit, config, (words, place), options.dtype, **own))
            else:
                results.append(_run(circuit, parts, config, words, place))
        return tuple(results)

    def options(self, given: Mapping[str, Any] | None = None) -> Options:
        """How circuits are run, with this device's own choices where `given` says nothing."""
        given = given or {}
        precision = given.get("precision", self._precision)
        return Options(None, given.get("stored_bytes", self._stored_bytes), DTYPES[_precision(precision)])

    def measured_options(self, config: ExecutionConfig) -> dict[str, Any]:
        """How measured circuits are run: the options of `execute_measured` that users set."""
        given = {**config.device_options, "postselect_mode": config.mcm_config.postselect_mode}
        return {name: given.get(name, getattr(self, f"_{name}", None)) for name in _MEASURED}

    def _take_snapshots(self, circuit: QuantumScript, config: ExecutionConfig) -> None:
        """What each snapshot asks for, by running the circuit up to it."""
        looked: dict[Any, Any] = self._debugger.snapshots
        debugger, self._debugger = self._debugger, None
        try:
            for place, op in enumerate(circuit.operations):
                if not isinstance(op, Snapshot):
                    continue
                shots = circuit.shots if op.hyperparameters["shots"] == "workflow" else op.hyperparameters["shots"]
                measurement = op.hyperparameters["measurement"]
                if not measurement.wires and measurement.obs is None:
                    measurement = type(measurement)(wires=circuit.wires)
                part = QuantumScript(circuit.operations[:place], [measurement], shots=shots)
                found = self.execute((part,), config)[0]
                if op.tag is None:
                    looked[len(looked)] = found
                elif op.tag in looked:
                    before = looked[op.tag]
                    looked[op.tag] = [*before, found] if isinstance(before, list) else [before, found]
                else:
                    looked[op.tag] = found
        finally:
            self._debugger = debugger

    def compute_derivatives(
        self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None = None
    ) -> Any:
        """The Jacobians of circuits with respect to their trainable parameters.

        Returns:
            For each circuit a tuple (measurements) of tuples (trainable parameters) of arrays, whose shape is that of
            the measurement and then that of the parameter.  What is alone stands without a tuple.

        Raises:
            DeviceError: for circuits with measurements in their middle, and for trainable integers or matrices of
                observables.
        """
        return self.execute_and_compute_derivatives(circuits, execution_config)[1]

    def execute_and_compute_derivatives(
        self, circuits: Sequence[QuantumScript], execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Results as of `execute`, and Jacobians as of `compute_derivatives`, which names the errors."""
        both = [self._derived("jacobian", c, execution_config) for c in circuits]
        results = tuple(alone(found[0]) for found in both)
        jacobians = tuple(alone([alone(row) for row in found[1]]) for found in both)
        return results, jacobians

    def compute_vjp(
        self, circuits: Sequence[QuantumScript], cotangents: Any, execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Products of cotangents with Jacobians.

        Args:
            circuits: preprocessed.
            cotangents: for each circuit one for its measurement, or a tuple of one for each, in the results' shapes.
            execution_config: resolved by `setup_execution_config`.

        Returns:
            For each circuit one entry for each trainable parameter, in its shape.

        Raises:
            DeviceError: as `compute_derivatives`.
        """
        return tuple(
            self._derived("pull", c, execution_config, (dy,) if len(c.measurements) == 1 else tuple(dy))
            for c, dy in zip(circuits, cotangents, strict=True)
        )

    def execute_and_compute_vjp(
        self, circuits: Sequence[QuantumScript], cotangents: Any, execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Results as of `execute`, and products as of `compute_vjp`, which names the errors."""
        return self.execute(circuits, execution_config), self.compute_vjp(circuits, cotangents, execution_config)

    def compute_jvp(
        self, circuits: Sequence[QuantumScript], tangents: Any, execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Products of Jacobians with tangents.

        Args:
            circuits: preprocessed.
            tangents: for each circuit one for each trainable parameter, in its shape.
            execution_config: resolved by `setup_execution_config`.

        Returns:
            For each circuit the tangents of its results, in their shapes.

        Raises:
            DeviceError: as `compute_derivatives`.
        """
        return self.execute_and_compute_jvp(circuits, tangents, execution_config)[1]

    def execute_and_compute_jvp(
        self, circuits: Sequence[QuantumScript], tangents: Any, execution_config: ExecutionConfig | None = None
    ) -> Any:
        """Results as of `execute`, and products as of `compute_jvp`, which names the errors."""
        both = [self._derived("push", c, execution_config, tuple(t)) for c, t in zip(circuits, tangents, strict=True)]
        return tuple(alone(b[0]) for b in both), tuple(alone(b[1]) for b in both)

    def _derived(self, kind: str, circuit: QuantumScript, config: ExecutionConfig | None, *given: Any) -> Any:
        """A derivative of a circuit with respect to its trainable parameters, as NumPy arrays."""
        if preprocessing.is_measured(circuit):
            raise DeviceError(
                f"{self.name} differentiates circuits with mid-circuit measurements through JAX and autograd only. Use "
                f"one of these interfaces, or qml.defer_measurements."
            )
        parts = take_apart(circuit, self.options((config or ExecutionConfig()).device_options), joined=False)
        places = tuple(parts.places[k] for k in circuit.trainable_params)
        if None in places:
            raise DeviceError(
                f"{self.name} differentiates with respect to real and complex numbers, not integers or the matrices of "
                f"observables. Got trainable parameters {circuit.trainable_params} of {circuit.data}. Mark those as "
                f"not trainable."
            )
        return interfaces.outside(parts.program.derived(kind, places), parts.numbers, *given)


def _through(config: ExecutionConfig) -> bool:
    """Whether an interface differentiates through `execute` itself, rather than asking for products."""
    return config.interface not in (Interface.TORCH, Interface.TF, Interface.TF_AUTOGRAPH)


def _run(circuit: QuantumScript, parts: Taken, config: ExecutionConfig, words: Any, place: int) -> Any:
    """One circuit's results."""
    if circuit.shots:
        return _run_shots(circuit, parts, config, words, place)
    if _is_jax(config, parts):
        return alone(parts.program.exact(parts.numbers))
    if any(isbox(n) for n in parts.numbers):
        return alone(interfaces.differentiated(parts.program, parts.numbers))
    return alone(interfaces.outside(parts.program.exact, parts.numbers))


def _is_jax(config: ExecutionConfig, parts: Taken) -> bool:
    return config.interface in _JAX or interfaces.is_jax(parts.numbers)


def _run_shots(circuit: QuantumScript, parts: Taken, config: ExecutionConfig, words: Any, place: int) -> Any:
    total = circuit.shots.total_shots
    projected = any(isinstance(op, qml.Projector) for op in circuit.operations)
    if projected and config.mcm_config.postselect_mode != "fill-shots":
        raise DeviceError(
            "Deferred postselection with shots drops none of them on varq.qubit. Set postselect_mode='fill-shots', "
            "or leave mcm_method out: then the shots that fail are dropped."
        )
    by_key = isinstance(words, jax.Array)  # given as a key, or drawn anew by each run of a compiled program
    recipes = [None if by_key else draw_recipes(m, total) for m in circuit.measurements if isinstance(m, SHADOWS)]
    arguments = (only_followed_outside(parts.numbers), (words, np.uint32(place)), recipes)
    if _is_jax(config, parts) or isinstance(words, jax.core.Tracer):
        found = parts.program.sampled(*arguments)
    else:
        found = interfaces.outside(parts.program.sampled, *arguments)
    wires = Wires(range(circuit.num_wires))
    standard = circuit.map_to_standard_wires().measurements
    if not any(isinstance(m, CountsMP) for m in standard):
        return _parted(circuit, found)
    bins = found if circuit.shots.has_partitioned_shots else (found,)
    counted = tuple(tuple(finish(m, r, wires) for m, r in zip(standard, part, strict=True)) for part in bins)
    return _parted(circuit, counted if circuit.shots.has_partitioned_shots else counted[0])


def _parted(circuit: QuantumScript, found: Any) -> Any:
    return tuple(alone(part) for part in found) if circuit.shots.has_partitioned_shots else alone(found)


def _precision(value: Any) -> str:
    if value not in DTYPES:
        raise ValueError(f"precision must be one of {tuple(DTYPES)}. Got {value!r}.")
    return str(value)


def _count(name: str, least: int, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}. Got {value!r}.")
    return int(value)


def _readout(value: Any) -> Any:
    if isinstance(value, Mapping):
        flip_chances(value, list(value))  # which raises for what is no probability
    if value is None or isinstance(value, (Mapping, jax.Array)):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
        raise ValueError(
            f"readout_error must be a probability between 0 and 1, or a mapping from wires to such. Got {value!r}."
        )
    return value


_CHECKS: dict[str, Any] = {
    "precision": _precision,
    "stored_bytes": partial(_count, "stored_bytes", 0),
    "max_branches": partial(_count, "max_branches", 1),
    "readout_error": _readout,
}
