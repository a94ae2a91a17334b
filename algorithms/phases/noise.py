"""What a run believes of its noise: one law, or several that its outcomes decide between."""

from __future__ import annotations

import itertools
import math

from varq.algorithms.phases.belief import Law

__all__ = ["believed", "single"]

FACTORS = (0.5, 2**-0.5, 1.0, 2**0.5, 2.0)  # of a coherence that was given
FLIPS = (0.5, 1.0, 2.0)  # of a readout error that was given
UNKNOWN_FLIPS = (0.0, 0.02, 0.08)  # where none was given


def single(contrast: float, coherence: float, weight: float = 1.0) -> Law:
    """The law of one contrast and one coherence."""
    return Law((contrast,), (1 / coherence,), (1.0,), weight)


def believed(contrast: float, coherence: float, applications: int, estimated: bool, weight: float = 1.0) -> Law:
    """The law that was given, or hypotheses around it with equal prior probabilities.

    Args:
        contrast: of preparation and readout.
        coherence: in applications; may be infinite.
        applications: of the whole run, which decide what coherences could be told apart where none was given.
        estimated: whether the noise is to be found out.
        weight: of the phase that is sought, where each experiment prepares its state anew.
    """
    if not estimated:
        return single(contrast, coherence, weight)
    flip = (1 - contrast) / 2
    contrasts = [1 - 2 * min(flip * f, 0.45) for f in FLIPS] if flip else [1 - 2 * f for f in UNKNOWN_FLIPS]
    if math.isinf(coherence):
        rates = [0.0, *(8.0**k / applications for k in range(1 + int(math.log(max(applications, 1), 8))))]
    else:
        rates = [1 / (coherence * f) for f in FACTORS]
    pairs = list(itertools.product(contrasts, rates))
    return Law(tuple(c for c, _ in pairs), tuple(r for _, r in pairs), (1 / len(pairs),) * len(pairs), weight)
