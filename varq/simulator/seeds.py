"""Where the randomness of finite shots comes from: a JAX key that the caller owns, or a generator that moves on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from varq.simulator.interfaces import is_traced

__all__ = ["Seeds", "as_key"]

_IMPLEMENTATION = "threefry2x32"  # named, so that a seed means the same whatever JAX's default is
_WORDS = (2,)  # of a threefry key


class Seeds:
    """Gives one key for each batch of circuits.

    With a JAX key every batch gets that same key, as pure functions want it; whoever wants other samples passes
    another key.  Otherwise keys are drawn from a NumPy generator: other samples in every call, the same from the same
    start.

    Inside `jax.jit` such a draw calls back to the host, whose address is part of the program: JAX keeps it in no
    compile cache on disk, so that every process compiles it.  A program whose key is an argument (a JAX key as seed,
    passed to the jitted function) is kept like any other, and serves all keys.

    Under `jax.vmap` a draw is made for each element if a parameter of the circuits is mapped over.  Numbers that only
    functions of outcomes hold are not seen: where nothing else is mapped, all elements have the same key.  A JAX key
    for each element, mapped over with the numbers, is what gives them samples of their own there.

    Args:
        seed: an integer or whatever `numpy.random.default_rng` takes, None for the system's entropy, "global" for a
            seed drawn from NumPy's global generator, or a JAX key (which may be traced).

    Raises:
        ValueError: if `seed` is none of these.
    """

    def __init__(self, seed: Any) -> None:
        self.key: Any = None
        self.generator = np.random.default_rng(0)
        if isinstance(seed, jax.Array):
            self.key = seed
            return
        if isinstance(seed, str):
            if seed != "global":
                raise ValueError(f'seed must be an integer, None, "global" or a JAX key. Got {seed!r}.')
            seed = np.random.randint(2**31 - 1)  # noqa: NPY002  (this is what "global" asks for)
        try:
            self.generator = np.random.default_rng(seed)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'seed must be a non-negative integer, None, "global" or a JAX key. Got {seed!r}.'
            ) from error

    def draw(self, *_: Any) -> Any:
        """Fresh words for a key, from the generator."""
        return self.generator.integers(2**32, size=_WORDS, dtype=np.uint32)

    def next(self, inputs: list[Any]) -> Any:
        """The key for a batch of circuits.

        Args:
            inputs: the parameters of the circuits.  Where one is traced, a compiled program must draw anew whenever it
                runs, and for every element of a `jax.vmap`, hence a call back to the host.
        """
        if self.key is not None:
            return self.key
        traced = [x for x in inputs if isinstance(x, jax.core.Tracer) and x.size]
        if not traced and not is_traced():
            return self.draw()
        shape = jax.ShapeDtypeStruct(_WORDS, jnp.uint32)  # type: ignore[no-untyped-call]
        return io_callback(self.draw, shape, *_anchor(traced))


def _anchor(traced: list[Any]) -> tuple[Any, ...]:
    """What the call back takes, so that JAX repeats it for each element: no one knows here which inputs are batched."""
    if not traced:
        return ()
    firsts = [jnp.real(jnp.ravel(jax.lax.stop_gradient(x))[0]).astype(np.float32) for x in traced]
    return (jnp.stack(firsts),)


def as_key(words: Any) -> Any:
    """A typed key, from one or from its words."""
    if jnp.issubdtype(words.dtype, jax.dtypes.prng_key):
        return words
    if words.shape == _WORDS:
        return jax.random.wrap_key_data(jnp.asarray(words), impl=_IMPLEMENTATION)
    return jax.random.wrap_key_data(jnp.asarray(words))
