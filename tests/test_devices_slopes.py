"""Derivatives of sampled circuits that would be silently wrong: refused, or right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import ExecutionConfig
from pennylane.exceptions import DeviceError
from pennylane.transforms.core import CompilePipeline

from varq.devices.slopes import followed
from varq.simulator.slopes import check_method, fewest_shots

pytestmark = pytest.mark.flagless

SHOTS = 4096
SIGMAS = 5.0  # standard errors that a mean may be off, at a fixed seed
ANGLE = 0.6


class Sampled(qml.devices.Device):
    """A device behind the guards, whose shots are those of default.qubit."""

    def setup_execution_config(self, config: Any = None, circuit: Any = None) -> ExecutionConfig:
        config = config or ExecutionConfig()
        check_method(config.gradient_method, config.gradient_keyword_arguments, fewest_shots(circuit.shots))
        return replace(config, use_device_gradient=False, use_device_jacobian_product=False)

    def preprocess_transforms(self, execution_config: Any = None) -> CompilePipeline:
        stages = CompilePipeline()
        stages.add_transform(followed)
        return stages

    def execute(self, circuits: Sequence[Any], execution_config: Any = None) -> Any:
        return qml.devices.DefaultQubit(seed=1).execute(circuits)


def cosine(device: Any = None, **options: Any) -> Callable[[Any], Any]:
    """cos(x), from shots."""

    @qml.qnode(device or Sampled(wires=1), **{"diff_method": "parameter-shift", **options})
    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    return qml.set_shots(circuit, SHOTS)  # type: ignore[no-any-return]


def test_first_derivatives_go_through() -> None:
    slope = jax.grad(cosine())(jnp.asarray(ANGLE))
    assert abs(float(slope) + np.sin(ANGLE)) < SIGMAS / np.sqrt(2 * SHOTS)


def test_a_second_derivative_is_refused_rather_than_zero() -> None:
    with pytest.raises(DeviceError, match="further derivative, which would be zeros"):
        jax.hessian(cosine())(jnp.asarray(ANGLE))


def test_a_second_derivative_by_the_way_out_is_right() -> None:
    curvature = jax.jit(jax.hessian(cosine(max_diff=2, cache=False)))(jnp.asarray(ANGLE))
    assert abs(float(curvature) + np.cos(ANGLE)) < SIGMAS / np.sqrt(SHOTS)


def test_vmap_is_refused_and_arrays_of_parameters_are_right() -> None:
    angles = jnp.asarray([0.0, ANGLE])
    with pytest.raises(DeviceError, match="arrays of parameters in place of"):
        jax.vmap(cosine())(angles)
    np.testing.assert_allclose(cosine()(angles), np.cos(angles), atol=SIGMAS / np.sqrt(SHOTS))


@pytest.mark.parametrize("name", [None, "varq.qubit"])
@pytest.mark.parametrize(
    ("method", "options"),
    [("finite-diff", {}), ("spsa", {}), ("finite-diff", {"h": 1e-3}), (qml.gradients.finite_diff, {})],
)
def test_differences_that_drown_in_noise_are_refused(method: Any, options: dict[str, float], name: str | None) -> None:
    device = name and qml.device(name, wires=1)
    with pytest.raises(ValueError, match=r"at least 0.011 with 4096 shots. Got h=[0-9.e-]+. Use gradient_kwargs"):
        jax.grad(cosine(device, diff_method=method, gradient_kwargs=options))(jnp.asarray(ANGLE))


@pytest.mark.parametrize("shots", [[10, (1000, 5)], [(1000, 5), 10]])
def test_each_entry_of_a_shot_vector_has_noise_of_its_own(shots: Any) -> None:
    """A step of 0.03 is seen through the noise of 5010 shots, but not of the 10 of one result."""
    device = qml.device("varq.qubit", wires=1)
    node = qml.set_shots(cosine(device, diff_method="finite-diff", gradient_kwargs={"h": 0.03}), shots)
    with pytest.raises(ValueError, match=r"at least 0.22 with 10 shots. Got h=0.03"):
        node(jnp.asarray(ANGLE))


@pytest.mark.parametrize("name", [None, "varq.qubit"])
def test_differences_over_a_sound_step_are_right_within_their_noise(name: str | None) -> None:
    step = 0.3
    node = cosine(name and qml.device(name, wires=1, seed=1), diff_method="finite-diff", gradient_kwargs={"h": step})
    slope = qml.grad(node)(qml.numpy.array(ANGLE, requires_grad=True))
    forward = (np.cos(ANGLE + step) - np.cos(ANGLE)) / step
    assert abs(float(slope) - forward) < SIGMAS * np.sqrt(2 / SHOTS) / step
