"""The environment in which a worker computes: one thread, and a compile cache that others share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["devices_apart", "lacking", "worker_environment"]

_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_VISIBLE = "CUDA_VISIBLE_DEVICES"  # which ROCm heeds, too
_XLA = ("--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1")


def worker_environment(cache: str | os.PathLike[str] | None = None, flags: str = "") -> dict[str, str]:
    """Variables of a process that works beside others on its machine, to be set before it starts Python.

    Args:
        cache: folder of JAX's compile cache, one that all workers see; None for varq's own in the user's home.
        flags: further XLA flags.

    Example:
        >>> worker_environment()["OMP_NUM_THREADS"]
        '1'
        >>> print("\\n".join(f"export {name}={value!r}" for name, value in worker_environment("/scratch/jax").items()))
        export OMP_NUM_THREADS='1'
        export OPENBLAS_NUM_THREADS='1'
        export MKL_NUM_THREADS='1'
        export XLA_FLAGS='--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'
        export JAX_COMPILATION_CACHE_DIR='/scratch/jax'
        export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0'
    """
    found = {**_THREADS, "XLA_FLAGS": " ".join([*flags.split(), *_XLA])}
    if cache is not None:
        found["JAX_COMPILATION_CACHE_DIR"] = str(Path(cache).expanduser().absolute())
        found["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return found


def lacking(environment: Mapping[str, str]) -> list[str]:
    """The variables that let a process use more than one thread.

    Example:
        >>> lacking({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
        ['XLA_FLAGS']
    """
    found = [name for name, value in _THREADS.items() if environment.get(name) != value]
    return found if _XLA[0] in environment.get("XLA_FLAGS", "").split() else [*found, "XLA_FLAGS"]


def devices_apart(shares: Sequence[int], environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Variables by which processes of one machine see graphics processors of their own, and some see none.

    Args:
        shares: how many each of them has.
        environment: of this process; where it names the processors that there are, these are given out.

    Raises:
        ValueError: for more than it names.

    Example:
        >>> devices_apart([1, 1], {"CUDA_VISIBLE_DEVICES": "2,3"})
        [{'CUDA_VISIBLE_DEVICES': '2'}, {'CUDA_VISIBLE_DEVICES': '3'}]
        >>> devices_apart([2, 0], {})
        [{'CUDA_VISIBLE_DEVICES': '0,1'}, {'CUDA_VISIBLE_DEVICES': '', 'JAX_PLATFORMS': 'cpu'}]
    """
    given = environment.get(_VISIBLE)
    known = [str(k) for k in range(sum(shares))] if given is None else [name for name in given.split(",") if name]
    if sum(shares) > len(known):
        raise ValueError(
            f"labels['gpu'] must be at most what {_VISIBLE} names, {given!r}. Got {sum(shares)}. Lower it, or name "
            "more."
        )
    out, first = [], 0
    for share in shares:
        seen = ",".join(known[first : first + share])
        out.append({_VISIBLE: seen} if share else {_VISIBLE: "", "JAX_PLATFORMS": "cpu"})
        first += share
    return out
