"""`varq doctor`: what is installed, whether it works, and how to mend what does not."""

from __future__ import annotations

import dataclasses
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, metadata, requires, version
from pathlib import Path
from typing import Any

from varq import checks, cli
from varq.cli.console import lines, print_json, say
from varq.cli.stores import DEFAULT_FOLDER
from varq.cli.waiting import waiting
from varq.store.faults import StoreError
from varq.store.folder import store_folder
from varq.store.store import open_store

__all__ = ["CONFLICTS", "Check", "doctor", "lacking", "satisfies"]

OK, NOTE, BROKEN = "ok", "note", "broken"
_SOUND, _BROKEN = 0, 1
_MARKS = {OK: "green|", NOTE: "yellow|", BROKEN: "red|"}
ROUNDING = 1e-10  # largest error of a one-qubit circuit in double precision that is rounding


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        section: which heading it stands under.
        name: what was looked at.
        state: "ok", "note" (works, but worth knowing) or "broken".
        found: what was found.
        mend: what to do about it; "" if nothing need be done.
    """

    section: str
    name: str
    state: str
    found: str
    mend: str = ""


@dataclass(frozen=True)
class _Conflict:
    """Installed packages that do not go together: which, when, why, and the way out."""

    package: str
    other: str
    clashes: Callable[[str], bool]
    state: str
    why: str
    mend: str


CONFLICTS = (
    _Conflict(
        "pennylane",
        "jax",
        lambda jax: _numbers(jax) >= (0, 11),
        BROKEN,
        "jax 0.11 removed names that PennyLane 0.45 imports: devices fail with an ImportError on concrete_or_error",
        "pip install 'jax<0.11'",
    ),
    _Conflict(
        "pennylane-catalyst",
        "jax",
        lambda jax: _numbers(jax) != (0, 7, 1),
        NOTE,
        "pennylane-catalyst needs jax 0.7.1 exactly and fails to import with any other",
        "keep it in an environment of its own, or: pip install 'jax==0.7.1' 'jaxlib==0.7.1'",
    ),
)
"""Known conflicts between versions of installed packages."""


def doctor(store: Path | None, as_json: bool) -> int:
    """Print what was found; 1 if something is broken."""
    probe = _probed()
    checks = [*_packages(), *_conflicts(), *_running(probe), *_plugins(probe), *_extras(), *_folder(store)]
    broken = [check for check in checks if check.state == BROKEN]
    if as_json:
        print_json([dataclasses.asdict(check) for check in checks])
        return _BROKEN if broken else _SOUND
    section = ""
    for check in checks:
        if check.section != section:
            section = check.section
            say(section, "bold")
        mark = "" if check.state == OK else f"{check.state.upper()}: "
        lines([(check.name, f"{_MARKS[check.state] if mark else ''}{mark}{check.found}")], width=20)
        if check.mend:
            lines([("", check.mend if check.state == OK else f"mend: {check.mend}")], width=20)
    say(
        f"{len(broken)} broken; see `mend` above." if broken else "Nothing is broken.", "bold red" if broken else "bold"
    )
    return _BROKEN if broken else _SOUND


# -- packages


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.split("+")[0])[:3])


def satisfies(found: str, bounds: str) -> bool:
    """Whether a version lies within bounds such as "<0.11,>=0.7.1".

    Example:
        >>> satisfies("0.10.2", "<0.11,>=0.7.1"), satisfies("0.11.0", "<0.11,>=0.7.1")
        (True, False)
    """
    here = _numbers(found)
    tests: dict[str, Callable[[tuple[int, ...]], bool]] = {
        ">=": lambda bound: here >= bound,
        "<": lambda bound: here < bound,
        "==": lambda bound: here[: len(bound)] == bound,
    }
    return all(tests[sign](_numbers(bound)) for sign, bound in re.findall(r"(>=|<|==)([\d.]+)", bounds))


def _needs(extra: str | None = None) -> dict[str, str]:
    """The packages that varq (or one of its extras) needs, with their bounds, as its own metadata says."""
    found = {}
    for line in requires("varq") or []:
        need, _, marker = line.partition(";")
        named = re.search(r"extra == ['\"](\w+)['\"]", marker)
        if (named.group(1) if named else None) == extra:
            parts = re.match(r"([\w.-]+)(\[.*\])?(.*)", need.strip())
            assert parts is not None
            found[parts.group(1)] = ",".join(sorted(parts.group(3).strip().split(","), reverse=True))
    return found


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _packages() -> Iterator[Check]:
    section = "Packages"
    known = [row.rsplit(" ", 1)[1] for row in metadata("varq").get_all("Classifier") or [] if "Python :: 3." in row]
    here = ".".join(map(str, sys.version_info[:3]))
    tested = ".".join(here.split(".")[:2]) in known
    mend = "" if tested else f"use one of Python {', '.join(known)}, on which varq is tested"
    yield Check(section, "python", OK if tested else NOTE, here, mend)
    yield Check(section, "varq", OK, version("varq"))
    for package, bounds in {**_needs(), "pennylane-lightning": "", "jaxlib": ""}.items():
        found = _installed(package)
        if found is None:
            yield Check(section, package, BROKEN, "not installed", f"pip install '{package}{bounds}'")
        elif not satisfies(found, bounds):
            said = f"{found}, which is not {bounds}"
            yield Check(section, package, BROKEN, said, f"pip install '{package}{bounds}'")
        else:
            yield Check(section, package, OK, f"{found}  ({bounds})" if bounds else found)


def _conflicts() -> Iterator[Check]:
    found = False
    for conflict in CONFLICTS:
        other = _installed(conflict.other)
        if _installed(conflict.package) is not None and other is not None and conflict.clashes(other):
            found = True
            name = f"{conflict.other} {other}"
            yield Check("Known conflicts", name, conflict.state, conflict.why, conflict.mend)
    if not found:
        yield Check("Known conflicts", "none", OK, "jax is below 0.11 (PennyLane 0.45 fails with 0.11 and later)")


# -- whether they work


def _probed() -> Any:
    """What running circuits told, or in words why nothing could be run."""
    try:
        with warnings.catch_warnings(), waiting():
            warnings.simplefilter("ignore")
            return cli.probe()
    except Exception as error:  # whatever a broken installation raises is what is to be reported
        return f"varq cannot be loaded: {type(error).__name__}: {error}"


def _running(probe: Any) -> Iterator[Check]:
    section = "A circuit with its gradient"
    if isinstance(probe, str):
        yield Check(section, "loading", BROKEN, probe, "mend the packages above, or use a fresh environment")
        return
    for name in probe.known:
        default = ", the default" if name == probe.default else ""
        if name in probe.faults:
            mend = "pip install --force-reinstall pennylane pennylane-lightning"
            yield Check(section, name, BROKEN, probe.faults[name], mend)
        elif probe.errors[name] > ROUNDING:
            said = f"off by {probe.errors[name]:.1e}"
            yield Check(section, name, BROKEN, said, "pip install --force-reinstall pennylane pennylane-lightning")
        else:
            yield Check(section, name, OK, f"right to {max(probe.errors[name], 1e-16):.0e}{default}")
    flag = "on" if probe.x64 else "off"
    yield Check(section, "jax x64 flag", OK, f"{flag}; varq computes in float64 either way and leaves it so")


def _plugins(probe: Any) -> Iterator[Check]:
    """PennyLane's devices by package, and which of them varq knows."""
    known = () if isinstance(probe, str) else probe.known
    groups: dict[str, list[str]] = {}
    for point in entry_points(group="pennylane.plugins"):
        owner = "unknown package" if point.dist is None else point.dist.name.replace("_", "-")
        groups.setdefault(owner, []).append(f"{point.name} (known to varq)" if point.name in known else point.name)
    section = "PennyLane devices found"
    for owner, devices in sorted(groups.items()):
        yield Check(section, owner, OK, ", ".join(sorted(devices, key=lambda d: ("known" not in d, d))))
    yield Check(section, "others", OK, "run too: by values alone, with shift rules for gradients")


def lacking(extra: str) -> list[str]:
    """The packages of an extra that are not installed."""
    return [package for package in _needs(extra) if package != "varq" and _installed(package) is None]


def _extras() -> Iterator[Check]:
    for extra in metadata("varq").get_all("Provides-Extra") or []:
        absent = lacking(extra)
        if absent:
            mend = f"if wanted: pip install 'varq[{extra}]'"
            yield Check("Extras", extra, OK, f"not installed (lacks {', '.join(absent)})", mend)
        else:
            yield Check("Extras", extra, OK, "installed")


def _folder(store: Path | None) -> Iterator[Check]:
    section, named = "Store", store or DEFAULT_FOLDER
    try:
        folder = store_folder(named)
    except StoreError as error:
        yield Check(section, str(named), BROKEN, str(error), "work in a folder that exists, or name one with --store")
        return
    at = folder if folder.is_dir() else folder.parent
    try:
        with tempfile.TemporaryFile(dir=at):
            pass
    except OSError as error:
        said = f"{at} cannot be written: {error.strerror}"
        yield Check(section, str(named), BROKEN, said, "work in a folder that can be written, or name one with --store")
        return
    if not folder.is_dir():
        yield Check(section, str(named), OK, "not made yet; it can be")
        return
    try:
        with open_store(folder, read_only=True) as opened:
            count = len(opened.list())
    except StoreError as error:
        yield Check(section, str(named), BROKEN, str(error), "`varq verify` says more")
        return
    yield Check(section, str(named), OK, f"{checks.counted(count, 'run')}; can be written")
