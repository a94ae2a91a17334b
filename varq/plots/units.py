"""Units and numbers as people write them: what figures and tables share."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["CHEMICAL_ACCURACY", "Scale", "difference", "quantity", "scale", "small", "uncertain", "value_text"]

CHEMICAL_ACCURACY = 1.594e-3  # hartree: 1 kcal/mol, within which reaction rates at room temperature are meaningful
MOST_DECIMALS = 15  # float64 holds no more
TWO_PI = 2 * math.pi

_QUANTITIES = {"Ha": "Energy", "eV": "Energy", "rad": "Phase", "": "Cost"}


@dataclass(frozen=True)
class Scale:
    """The unit in which deviations of a quantity are shown.

    Args:
        factor: shown number = number in the quantity's own unit times this.
        unit: what is shown, such as "mHa"; "" for a plain number.
        accuracy: the deviation that counts as accurate, in the quantity's own unit; None where there is no such rule.
    """

    factor: float
    unit: str
    accuracy: float | None = None


def scale(unit: str) -> Scale:
    """How deviations of a quantity in `unit` are shown.

    Example:
        >>> scale("Ha").unit, scale("rad").unit
        ('mHa', 'rad')
    """
    return Scale(1e3, "mHa", CHEMICAL_ACCURACY) if unit == "Ha" else Scale(1.0, unit)


def quantity(unit: str) -> str:
    """What a number in `unit` is, with the unit, as the label of an axis.

    Example:
        >>> quantity("Ha"), quantity("")
        ('Energy (Ha)', 'Cost')
    """
    name = _QUANTITIES.get(unit, "Value")
    return f"{name} ({unit})" if unit else name


def difference(value: float, reference: float, unit: str) -> float:
    """`value - reference`; for phases ("rad") the shorter way around the circle, in [-pi, pi].

    Example:
        >>> round(difference(6.2, 0.1, "rad"), 4)
        -0.1832
    """
    if unit != "rad":
        return value - reference
    away = value - reference
    return math.remainder(away, TWO_PI) if math.isfinite(away) else away


def small(number: float, digits: int = 3) -> str:
    """A deviation: signed, with `digits` significant digits.

    Example:
        >>> small(0.021234), small(-123.456), small(3.2e-7)
        ('+0.0212', '-123', '+3.2e-07')
    """
    if number == 0:
        return "0"
    if 1e-3 <= abs(number) < 1e5:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(number))))
        return f"{number:+.{decimals}f}"
    return f"{number:+.{digits}g}"


def uncertain(value: float, stderr: float | None) -> str:
    """A number with its standard error in parentheses, in units of the last digits.

    Args:
        value: the number.
        stderr: one standard error; None or 0 when the number is exact.

    Example:
        >>> uncertain(-1.137234, 0.0012), uncertain(123.44, 5.61), uncertain(1.5, None)
        ('-1.1372(12)', '123.4(5.6)', '1.5')
    """
    if stderr is None or stderr == 0 or not math.isfinite(value):
        return f"{value:.12g}"
    if not math.isfinite(stderr):
        return f"{value:.6g}(unknown)"
    stderr = abs(stderr)
    size = max(abs(value), stderr)
    if not 1e-4 <= size < 1e9:
        power = math.floor(math.log10(size))
        return f"{uncertain(value / 10.0**power, stderr / 10.0**power)}e{power:+03d}"
    decimals = min(1 - math.floor(math.log10(float(f"{stderr:.1e}"))), MOST_DECIMALS)
    if decimals <= 0:
        return f"{value:.0f}({round(stderr, decimals):.0f})"
    error = f"{stderr:.{decimals}f}"
    digits = error if stderr >= 1 or float(error) >= 1 else error.lstrip("0.") or "0"
    return f"{value:.{decimals}f}({digits})"


def value_text(value: float | None, stderr: float | None, unit: str) -> str:
    """A value as a table shows it: with its error and unit, energies to 8 decimals when exact.

    Example:
        >>> value_text(-7.8823624, None, "Ha"), value_text(0.5, 0.02, "rad"), value_text(None, None, "Ha")
        ('-7.88236240 Ha', '0.500(20) rad', 'none')
    """
    if value is None:
        return "none"
    exact = stderr is None or stderr == 0
    text = f"{value:.8f}" if exact and unit == "Ha" and abs(value) < 1e7 else uncertain(value, stderr)
    return f"{text} {unit}".rstrip()
