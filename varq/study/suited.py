"""Whether workers can do a study's work: what they are, and what is wrong with those that cannot."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from varq import names
from varq.study.environment import lacking
from varq.study.lost import Unsuited

__all__ = [
    "check_graphics",
    "check_suited",
    "graphics",
    "look",
    "other_varq",
    "several_threads",
    "shortcomings",
    "unseen",
]

_LISTED = 5  # workers that a message names
_NUMBERS = ("jax", "numpy", "optax", "pennylane", "scipy")  # packages by which numbers may differ


def look(token: str | None = None) -> dict[str, Any]:
    """What a worker is, as its own process sees it.

    Args:
        token: path of a file that it should see.
    """
    seen = None
    if token is not None:
        try:
            seen = Path(token).read_text(encoding="utf-8")
        except OSError:
            seen = ""
    return {
        "host": socket.gethostname(),
        "versions": names.versions(),
        "lacking": lacking(os.environ),
        "seen": seen,
        "processors": os.cpu_count() or 1,
    }


def graphics() -> int:
    """How many graphics processors JAX has in this process."""
    import jax  # not above: the scheduler of a cluster imports this module, and needs none

    try:
        return len(jax.devices("gpu"))
    except RuntimeError:
        return 0


def check_graphics(found: Mapping[str, int], labeled: Mapping[str, float]) -> None:
    """Raises unless workers have the graphics processors that their labels say.

    Args:
        found: what `graphics` gave on each, by name.
        labeled: what the label `gpu` of each says.

    Raises:
        Unsuited: names those that have fewer.
    """
    short = [
        f"{worker} (label gpu={labeled[worker]:g}, JAX has {has})"
        for worker, has in found.items()
        if has < labeled[worker]
    ]
    if short:
        raise Unsuited(
            "A worker has the graphics processors that its label says, as JAX sees them there: nothing runs on another "
            f"processor in silence. Got fewer on {_named(short)}. Nothing of it ran there. Install a JAX that knows "
            "them (pip install 'jax[cuda12]'), or give the label to other workers."
        )


def _named(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more


def other_varq(found: Mapping[str, str], wanted: str) -> Unsuited:
    """The error for workers that run another varq, by their addresses."""
    said = _named([f"{worker} ({number})" for worker, number in found.items()])
    return Unsuited(
        f"Workers and client of a study run the same varq: here it is {wanted}, but elsewhere on {said}. Nothing of it "
        "ran there. Install one version in all environments, and start the workers anew."
    )


def several_threads(workers: Sequence[str]) -> Unsuited:
    """The error for workers of several threads."""
    return Unsuited(
        "A worker of a study has one thread: PennyLane keeps one queue of operations for a whole process, in which "
        f"circuits of several threads mix. Got more on {_named(workers)}. Start workers with --nthreads 1 (more "
        "processes in their place), LocalCluster(threads_per_worker=1), SLURMCluster(cores=n, processes=n), or use "
        "varq.study.local_cluster(n)."
    )


def unseen(folder: Path, hosts: Sequence[str]) -> Unsuited:
    """The error for machines that do not see a store's folder."""
    return Unsuited(
        f"Workers write to the store's folder, which has to be one that they share with the client. {folder} is not "
        f"seen from {_named(hosts)}. Nothing was run. Name a folder on a shared file system, sweep(..., store=...); "
        "or, without one, run shards with a store each, finish(shard=(1, 4)), and unite them by varq merge."
    )


def check_suited(found: Mapping[str, Any], known: Mapping[str, Any], folder: Path, token: str) -> None:
    """Raises unless all workers can do a study's work.

    Args:
        found: what `look` gave on each, by address; an error where it could not be called.
        known: what the scheduler knows of each.
        folder: of the store.
        token: what they should have seen there.

    Raises:
        Unsuited: says what is the matter with which workers.
    """
    wanted = version("varq")
    broken = {worker: said for worker, said in found.items() if not isinstance(said, dict)}
    if broken:
        worker, said = next(iter(broken.items()))
        raise Unsuited(
            f"Workers of a study need the same varq as the client, {wanted}. {worker} has none that fits: "
            f"{type(said).__name__}: {said}. Install it in the workers' environment, and start them anew."
        )
    others = {worker: said["versions"]["varq"] for worker, said in found.items() if said["versions"]["varq"] != wanted}
    if others:
        raise other_varq(others, wanted)
    several = [w for w, facts in known.items() if facts["nthreads"] > 1 or w.startswith("inproc")]
    if several:
        raise several_threads(several)
    blind = sorted({said["host"] for said in found.values() if said["seen"] != token})
    if blind:
        raise unseen(folder, blind)


def shortcomings(cluster: str, found: Mapping[str, Any]) -> list[str]:
    """What works on workers, but not well, or not to the last bit."""
    out = []
    busy = sorted({name for said in found.values() if said["processors"] > 1 for name in said["lacking"]})
    if busy:
        out.append(
            f"Workers of {cluster} compute with several threads each and get into each other's way: {_named(busy)} "
            "is not set for one. Start them with varq.study.worker_environment(), or use varq.study.local_cluster(n)."
        )
    here = names.versions()
    other = sorted(
        {
            f"{name} {number} there, {here.get(name, 'none')} here"
            for said in found.values()
            for name, number in said["versions"].items()
            if name in _NUMBERS and number != here.get(name)
        }
    )
    if other:
        out.append(
            f"Workers of {cluster} have other versions than the client: {_named(other)}. Numbers may differ by "
            "rounding. Install the same in all environments to be sure."
        )
    return out
