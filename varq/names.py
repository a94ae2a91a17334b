"""The one door that leads up: literal names to the objects of higher floors, and to what other packages add."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from types import MappingProxyType
from typing import Any

from varq import checks

__all__ = ["KINDS", "TABLE", "find", "loaded", "names", "place", "versions"]

TABLE = MappingProxyType(
    {
        "problem:molecule": "varq.problems.molecule:Molecule",
        "problem:transverse-field-ising": "varq.problems.lattice:TransverseFieldIsing",
        "problem:heisenberg": "varq.problems.lattice:Heisenberg",
        "problem:hubbard": "varq.problems.lattice:Hubbard",
        "problem:maxcut": "varq.problems.graph:MaxCut",
        "problem:operator": "varq.problems.operator:Operator",
        "problem:eigenphase": "varq.problems.eigenphase:EigenPhase",
        "ansatz:uccsd": "varq.ansatze.coupled_cluster:UCCSD",
        "ansatz:kupccgsd": "varq.ansatze.coupled_cluster:KUpCCGSD",
        "ansatz:hardware-efficient": "varq.ansatze.layered:HardwareEfficient",
        "ansatz:hamiltonian-variational": "varq.ansatze.layered:HamiltonianVariational",
        "ansatz:givens-layers": "varq.ansatze.conserving:GivensLayers",
        "ansatz:alternating": "varq.ansatze.alternating:Alternating",
        "ansatz:circuit": "varq.ansatze.custom:Circuit",
        "optimizer:optax": "varq.optimizers.gradient:Optax",
        "optimizer:scipy": "varq.optimizers.classical:Scipy",
        "optimizer:spsa": "varq.optimizers.stochastic:SPSA",
        "optimizer:rotosolve": "varq.optimizers.coordinate:Rotosolve",
        "optimizer:excitation-solve": "varq.optimizers.coordinate:ExcitationSolve",
        "optimizer:natural-gradient": "varq.optimizers.natural:NaturalGradient",
        "policy:greedy": "varq.algorithms.phases.greedy:Greedy",
        "policy:semiclassical": "varq.algorithms.phases.ladder:Semiclassical",
        "policy:look-ahead": "varq.algorithms.phases.lookahead:LookAhead",
        "policy:higgins": "varq.algorithms.phases.ladder:Higgins",
        "policy:robust": "varq.algorithms.phases.robust:Robust",
        "policy:random-walk": "varq.algorithms.phases.walk:RandomWalk",
        "policy:spectrum": "varq.algorithms.phases.spectrum:Spectrum",
        "code:five-qubit": "varq.algorithms.correction.codes:FiveQubit",
        "code:repetition": "varq.algorithms.correction.codes:Repetition",
        "code:rotated-surface": "varq.algorithms.correction.codes:RotatedSurface",
        "code:stabilizer": "varq.algorithms.correction.codes:StabilizerCode",
        "code:steane": "varq.algorithms.correction.codes:Steane",
        "decoder:bposd": "varq.algorithms.correction.belief:BPOSD",
        "decoder:lookup": "varq.algorithms.correction.lookup:Lookup",
        "decoder:fewest-faults": "varq.algorithms.correction.fewest:FewestFaults",
        "decoder:matching": "varq.algorithms.correction.decoders:Matching",
        "decoder:window": "varq.algorithms.correction.window:Window",
        "noise:model": "varq.algorithms.correction.noise:Noise",
        "algorithm:memory": "varq.algorithms.correction.memory:Memory",
        "algorithm:vqe": "varq.algorithms.variational:VQE",
        "algorithm:qaoa": "varq.algorithms.approximate:QAOA",
        "algorithm:phase-estimation": "varq.algorithms.phase:PhaseEstimation",
        "algorithm:qpe": "varq.algorithms.batch_phase:QPE",
        "algorithm:shor": "varq.algorithms.factoring:Shor",
        "algorithm:amplitude-estimation": "varq.algorithms.amplitude:AmplitudeEstimation",
        "algorithm:logical-teleportation": "varq.algorithms.correction.teleportation:LogicalTeleportation",
        "algorithm:minimize": "varq.algorithms.minimization:Minimize",
        "request:value": "varq.protocol:Value",
        "request:value-and-grad": "varq.protocol:ValueAndGrad",
        "request:metric": "varq.protocol:Metric",
        "request:sample": "varq.protocol:Sample",
        "request:law": "varq.protocol:Law",
        "request:experiment": "varq.protocol:Experiment",
        "request:many": "varq.protocol:Many",
        "request:reply": "varq.protocol:Reply",
        "request:stop": "varq.protocol:Stop",
        "request:result": "varq.protocol:Result",
        "device:braket": "varq.devices.braket:open_braket",
        "device:ibm": "varq.devices.ibm:open_ibm",
        "device:qiskit-aer": "varq.devices.aer:open_aer",
        "data:chain": "varq.testing.storms:Chain",
        "data:evolution": "varq.problems.evolution:Evolution",
        "data:integrals": "varq.problems.integrals:Integrals",
        "data:device": "varq.devices.choice:Device",
        "data:spread": "varq.devices.several:Spread",
        "data:from-run": "varq.protocol:FromRun",
        "device:cloud": "varq.testing.cloud:CloudService",
        "plot:convergence": "varq.plots.energies:convergence",
        "plot:curve": "varq.plots.energies:curve",
        "plot:parameters": "varq.plots.traces:parameters",
        "plot:distribution": "varq.plots.probabilities:distribution",
        "plot:histogram": "varq.plots.histograms:histogram",
        "plot:posterior": "varq.plots.probabilities:posterior",
        "plot:problem": "varq.plots.drawings:problem",
        "plot:circuit": "varq.plots.circuits:circuit",
        "plot:study": "varq.plots.studies:study",
        "plot:threshold": "varq.plots.thresholds:threshold",
        "plot:timeline": "varq.plots.spans:timeline",
        "display:figure": "varq.display.figures:Watch",
        "display:ledger": "varq.display.ledgers:ledger_table",
        "display:ledger-html": "varq.display.ledgers:ledger_html",
        "display:ledger-text": "varq.display.ledgers:ledger_text",
        "display:progress": "varq.display.progress:Progress",
        "display:result": "varq.display.results:result_html",
        "display:run": "varq.display.results:run_html",
        "display:session": "varq.display.board:Board",
        "display:study": "varq.display.studies:StudyBoard",
        "display:text": "varq.display.results:result_text",
    }
)
"""Every name of this package that data may carry, as `kind:name` -> `module:attribute`."""

KINDS = tuple(sorted({key.split(":")[0] for key in TABLE}))


def _plugins(kind: str) -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=f"varq.{kind}")}


def names(kind: str) -> list[str]:
    """The names known for `kind`: those of this package and those of installed plug-ins, sorted."""
    checks.choice("kind", kind, KINDS)
    own = {key.split(":")[1] for key in TABLE if key.startswith(kind + ":")}
    return sorted(own | set(_plugins(kind)))


def find(kind: str, name: str) -> Any:
    """The object called `name` among those of `kind`.

    Only the literal table above and the entry-point group `varq.<kind>` of installed packages are looked at: a stored
    record can name what is installed, and cannot make anything else be imported.

    Raises:
        ValueError: if nothing has that name; the message lists the close ones.
    """
    target = TABLE.get(f"{kind}:{name}")
    if target is not None:
        module, attribute = target.split(":")
        return getattr(importlib.import_module(module), attribute)
    plugins = _plugins(kind)
    if name in plugins:
        return plugins[name].load()
    checks.choice(kind, name, names(kind))
    raise AssertionError("unreachable: choice raises for an unknown name")


def versions() -> dict[str, str]:
    """The versions of varq and of the packages whose numbers a run depends on; absent packages are left out."""
    return dict(_versions())


@cache  # what is imported stays as it is; to read it anew takes several milliseconds
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", ".".join(map(str, sys.version_info[:3])))]
    for package in ("varq", "pennylane", "jax", "numpy", "scipy", "optax", "stim", "pymatching"):
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def loaded(module: str, qualified_name: str) -> Any | None:
    """What `module` holds under `qualified_name` if it is imported already, else None; runs nothing."""
    here = sys.modules.get(module)
    space: Any = vars(here) if here is not None else {}
    found: Any = None
    for part in qualified_name.split("."):
        found = space.get(part)
        if found is None:
            return None
        space = getattr(found, "__dict__", {})
    return found


def place(module: str) -> str | None:
    """Where a top-level module is found (a path, "built-in" or "frozen"), None if nowhere; imports nothing."""
    try:
        found = importlib.util.find_spec(module)
    except ValueError:  # made by hand: in sys.modules and without a spec
        return None
    if found is None:
        return None
    return found.origin or next(iter(found.submodule_search_locations or ()), None)
