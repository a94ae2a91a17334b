"""Data that ships with the package: molecular integrals (gzip FCIDUMP) and their energies (`energies.json`).

Made with PySCF by `benchmarks/make_data.py`; `varq.problems.Molecule.load` reads it.
"""

from pathlib import Path

__all__ = ["FOLDER"]

FOLDER = Path(__file__).parent
"""Where the files are."""
