"""All figures of integrated computing, one after the other: phase estimation, batch classics, error correction.

    python benchmarks/integrated.py

The lines, their bounds and the sources of these are those of `phases.py`, `batch.py` and `correction.py`, which run
here as they are (about an hour on two cores).  The status is 1 if a bound is missed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PARTS = ("phases.py", "batch.py", "correction.py")


def main() -> int:
    """Run each part; 1 if one has missed a bound."""
    missed = 0
    for part in PARTS:
        print(f"== {part}", flush=True)
        missed += subprocess.run([sys.executable, str(Path(__file__).with_name(part))], check=False).returncode != 0
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
