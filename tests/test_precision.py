"""Double precision whatever JAX's flag says, and the flag as it was."""

import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varq.precision import double, in_double

FRESH = """
import jax
from varq.problems import Molecule
from varq.algorithms import vqe
assert jax.config.jax_enable_x64 is {flag}
result = vqe(Molecule.load("H2"), store=None, progress=False)
assert abs(result.deviation) < 1e-9, result.deviation
assert jax.config.jax_enable_x64 is {flag}
assert jax.numpy.ones(1).dtype == jax.numpy.{dtype}
print("accurate")
"""


@pytest.mark.parametrize(("flag", "dtype"), [(False, "float32"), (True, "float64")])
def test_h2_is_accurate_in_a_fresh_process_and_the_flag_stays(flag: bool, dtype: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import os; os.environ['JAX_ENABLE_X64'] = '{int(flag)}'" + FRESH.format(flag=flag, dtype=dtype),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "accurate", done.stderr[-2000:]


def test_the_block_computes_in_double_and_leaves_the_flag() -> None:
    before = jnp.ones(1).dtype
    with double():
        assert jnp.ones(1).dtype == np.float64
        with double(False):
            assert jnp.ones(1).dtype == np.float32
        assert jnp.ones(1).dtype == np.float64
    assert jnp.ones(1).dtype == before


def test_an_error_leaves_the_flag() -> None:
    before = jnp.ones(1).dtype
    with pytest.raises(ZeroDivisionError, match="by zero"), double():
        1 / 0  # noqa: B018
    assert jnp.ones(1).dtype == before


def test_each_thread_enters_for_itself() -> None:
    found: list[object] = []

    @in_double
    def work() -> None:
        found.append(jax.jit(lambda x: x + 1)(jnp.ones(1)).dtype)

    def bare() -> None:
        found.append(jnp.ones(1).dtype)

    before = jnp.ones(1).dtype
    with double():
        for target in (work, bare):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert found == [np.float64, before]
