"""What each method of `scipy.optimize.minimize` can use: gradients, curvature, bounds, options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["METHODS", "Ability"]


@dataclass(frozen=True)
class Ability:
    """What one method can use.

    Args:
        options: names of its numerical options (`return_all` and `workers` have no meaning when evaluations are asked
            for one by one, and are left out).
        gradient: "none" if it uses values only, "optional" if SciPy can difference values instead, else "required".
        curvature: "hessian" or "product" (Hessian times vector) if it cannot work without; "" otherwise.
        bounds: whether parameters can be bounded.
    """

    options: tuple[str, ...]
    gradient: str = "none"
    curvature: str = ""
    bounds: bool = False


def _ability(options: str, gradient: str = "none", curvature: str = "", bounds: bool = False) -> Ability:
    return Ability(tuple(options.split()), gradient, curvature, bounds)


_TRUST = "initial_trust_radius max_trust_radius eta gtol maxiter disp"

METHODS: Mapping[str, Ability] = MappingProxyType(
    {
        "Nelder-Mead": _ability("maxiter maxfev disp initial_simplex xatol fatol adaptive", bounds=True),
        "Powell": _ability("xtol ftol maxiter maxfev disp direc", bounds=True),
        "CG": _ability("gtol norm eps maxiter disp finite_diff_rel_step c1 c2", "optional"),
        "BFGS": _ability("gtol norm eps maxiter disp finite_diff_rel_step xrtol c1 c2 hess_inv0", "optional"),
        "Newton-CG": _ability("xtol eps maxiter disp c1 c2", "required"),
        "L-BFGS-B": _ability(
            "disp maxcor ftol gtol eps maxfun maxiter iprint maxls finite_diff_rel_step", "optional", bounds=True
        ),
        "TNC": _ability(
            "eps scale offset mesg_num maxCGit eta stepmx accuracy minfev ftol xtol gtol rescale disp maxfun "
            "finite_diff_rel_step",
            "optional",
            bounds=True,
        ),
        "COBYLA": _ability("rhobeg tol maxiter disp catol f_target", bounds=True),
        "COBYQA": _ability(
            "disp maxfev maxiter f_target feasibility_tol initial_tr_radius final_tr_radius scale", bounds=True
        ),
        "SLSQP": _ability("maxiter ftol iprint disp eps finite_diff_rel_step", "optional", bounds=True),
        "trust-constr": _ability(
            "xtol gtol barrier_tol sparse_jacobian maxiter verbose finite_diff_rel_step initial_constr_penalty "
            "initial_tr_radius initial_barrier_parameter initial_barrier_tolerance factorization_method disp",
            "optional",
            bounds=True,
        ),
        "dogleg": _ability(_TRUST, "required", "hessian"),
        "trust-ncg": _ability(_TRUST, "required", "product"),
        "trust-exact": _ability(_TRUST, "required", "hessian"),
        "trust-krylov": _ability(_TRUST + " inexact", "required", "product"),
    }
)
"""Every method by the name SciPy's documentation gives it."""
