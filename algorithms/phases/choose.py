"""Policies by name."""

from __future__ import annotations

from typing import Any

from varq import names, spec
from varq.algorithms.phases.policy import PolicySpec

__all__ = ["as_policy"]


def as_policy(policy: Any) -> PolicySpec:
    """A policy, from itself or its name.

    Raises:
        ValueError: for an unknown name.
        TypeError: for something else.

    Example:
        >>> as_policy("robust")
        Robust(slope=2.5, offset=0.5)
    """
    if isinstance(policy, str):
        found: PolicySpec = names.find("policy", policy.lower().replace("_", "-"))()
        return found
    if not spec.is_spec(policy) or not hasattr(policy, "fresh"):
        hint = "Use a name such as 'greedy', or Greedy(...), Higgins(...) of varq.algorithms.phases."
        raise TypeError(f"policy must be a policy of phase estimation or its name. Got {policy!r}. {hint}")
    chosen: PolicySpec = policy
    return chosen
