"""One use of each extra: `.ci/extras.py` prints their names, `.ci/extras.py NAME` uses the packages of that one.

`.ci/full extras` runs each where nothing is installed but varq, what varq needs, and that extra.  Stores and tables go
to the folder where it is called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import varq
from varq.algorithms import VQE, memory
from varq.algorithms.correction import Repetition
from varq.display.buttons import buttons
from varq.problems import Molecule, TransverseFieldIsing
from varq.study import local_cluster

CHAIN = VQE(problem=TransverseFieldIsing(2), optimizer="spsa", shots=100, stop=varq.Stop(steps=1))
FEW = 200  # memory experiments


def on(device: str) -> bool:
    """Whether circuits run there."""
    with varq.Session(device, shots=100, progress=False) as session:
        return bool(session.run(CHAIN).steps == 1)


def dask() -> bool:
    """Whether a worker of Dask runs a study."""
    with local_cluster(1) as cluster:
        study = varq.sweep(CHAIN, over={"seed": range(2)})
        study.finish(executor=cluster)
    return bool(study.status()["done"] == 2)


def export() -> bool:
    """Whether a study becomes a Parquet file and a Dataset."""
    study = varq.sweep(CHAIN, over={"seed": range(2)})
    study.finish()
    return all(study.export(name).stat().st_size > 0 for name in ("table.parquet", "table.nc"))


USES: dict[str, Callable[[], bool]] = {
    "chem": lambda: Molecule.from_geometry("H 0 0 0; H 0 0 0.74").hf_energy < -1.0,
    "braket": lambda: on("braket.local"),
    "aer": lambda: on("qiskit-aer"),
    "ibm": lambda: on("ibm.fake_manila"),
    "dask": dask,
    "export": export,
    "qec": lambda: memory(Repetition(3), p=0.01, shots=FEW, progress=False).value < 1.0,
    "ldpc": lambda: memory(Repetition(3), p=0.01, shots=FEW, decoder="bposd", progress=False).value < 1.0,
    "notebook": lambda: buttons(print) is not None,
}


def main(names: list[str]) -> int:
    """Print the names, or use the extras that are named; 1 if one does not do what it is for."""
    if not names:
        print("\n".join(USES))
    idle = [name for name in names if not USES[name]()]
    if idle:
        print(f"The packages are here, but this does not work: {', '.join(idle)}", file=sys.stderr)
    return int(bool(idle))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
