"""Read and write FCIDUMP files: integrals as text, the exchange format of quantum chemistry.

Source: P. J. Knowles and N. C. Handy, Comput. Phys. Commun. 54, 75 (1989).
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from varq import checks
from varq.problems.integrals import SYMMETRY_TOLERANCE, Integrals

__all__ = ["read", "write"]

_EXPECTED = "a value and four orbital numbers, such as '0.6747 1 1 2 2'"
_MOST_ORBITALS = 64  # 64^4 integrals are 128 MiB


def read(path: str | os.PathLike[str]) -> Integrals:
    """The integrals in an FCIDUMP file, plain or gzip.

    Two-electron integrals are (ij|kl) over real orbitals, each given once or in any of its eight forms; those that are
    absent are zero.  Orbital energies (`value i 0 0 0`) are skipped.

    Args:
        path: of the file; gzip is known by its content, whatever the name.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if `path` is no path.
        ValueError: if it is truncated or malformed; names the file, the line, what was expected and what came.
    """
    checks.text("path", os.fspath(checks.instance("path", path, (str, os.PathLike))))
    return _Reader(Path(path)).integrals()


class _Reader:
    """One pass over the lines of one file; every complaint names file and line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.lines = _text(path).splitlines()

    def wrong(self, expected: str, got: str, number: int | None = None) -> NoReturn:
        line = self.number if number is None else number
        raise ValueError(f"{self.path}, line {line}: expected {expected}. Got {got}.")

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        for line in self.lines[self.number :]:
            self.number += 1
            if words := line.split():
                yield line, words

    def integrals(self) -> Integrals:
        header = self.header()
        n = self.whole(header, "NORB", 1, _MOST_ORBITALS)
        electrons = self.electrons(header, n)
        self.h1 = np.full((n, n), np.nan)
        self.h2 = np.full((n, n, n, n), np.nan)
        self.constant = np.nan
        for line, words in self.rows():
            value, indices = self.entry(line, words, n)
            self.place(line, value, indices)
        if np.isnan(self.constant):
            self.wrong("the line of the constant, 'value 0 0 0 0'", "the end of the file: is it cut short?")
        return Integrals(np.nan_to_num(self.h1), np.nan_to_num(self.h2), self.constant, electrons)

    def header(self) -> dict[str, str]:
        """The entries of the namelist that starts with &FCI and ends with &END or /."""
        text, found = "", None
        for line, _ in self.rows():
            if not text and not line.lstrip().upper().startswith(("&FCI", "$FCI")):
                self.wrong("the header, '&FCI NORB=..., NELEC=..., MS2=...,'", repr(line[:60]))
            end = re.search(r"(&END|\$END|/)\s*$", line, re.IGNORECASE)
            text += " " + (line[: end.start()] if end else line)
            if end:
                found = re.findall(r"(\w+)\s*=\s*([^=]*?)\s*,?\s*(?=\w+\s*=|$)", text.strip()[4:])
                break
        if found is None:
            self.wrong("the end of the header, '&END' or '/'", "the end of the file" if text else "an empty file")
        return {name.upper(): value.strip(" ,") for name, value in found}

    def whole(self, header: dict[str, str], name: str, low: int, high: int) -> int:
        expected = f"{name} in the header, an integer from {low} to {high}"
        if name not in header:
            self.wrong(expected, f"a header with {', '.join(sorted(header)) or 'no entries'}")
        value = header[name]
        if not re.fullmatch(r"[+-]?\d+", value) or not low <= int(value) <= high:
            self.wrong(expected, f"{name}={value}")
        return int(value)

    def electrons(self, header: dict[str, str], orbitals: int) -> tuple[int, int]:
        for name in ("IUHF", "UHF"):
            if header.get(name, "0").strip(".").upper() in ("1", "T", "TRUE"):
                self.wrong("integrals over one set of orbitals for both spins", f"{name}={header[name]}")
        count = self.whole(header, "NELEC", 1, 2 * orbitals)
        spin = self.whole(header, "MS2", -count, count) if "MS2" in header else count % 2
        up, down = (count + spin) // 2, (count - spin) // 2
        if (count + spin) % 2 or max(up, down) > orbitals:
            self.wrong(f"MS2 that fits {count} electrons in {orbitals} orbitals", f"MS2={spin}")
        return up, down

    def entry(self, line: str, words: list[str], orbitals: int) -> tuple[float, tuple[int, ...]]:
        if len(words) != 5:
            self.wrong(_EXPECTED, repr(line[:60]))
        try:
            value = float(words[0].replace("D", "E").replace("d", "e"))
        except ValueError:
            self.wrong(f"{_EXPECTED}; the value must be a real number", repr(words[0]))
        if not np.isfinite(value):
            self.wrong("a finite value", repr(words[0]))
        if not all(w.isdecimal() for w in words[1:]):
            self.wrong(_EXPECTED, repr(line[:60]))
        indices = tuple(int(w) for w in words[1:])
        if max(indices) > orbitals:
            self.wrong(f"orbital numbers from 0 to NORB={orbitals}", repr(line[:60]))
        return value, indices

    def place(self, line: str, value: float, indices: tuple[int, ...]) -> None:
        i, j, k, m = (index - 1 for index in indices)
        filled = tuple(index > 0 for index in indices)
        if filled == (True, True, True, True):
            self.check(line, self.h2[i, j, k, m], value)
            for a, b, c, d in ((i, j, k, m), (k, m, i, j)):
                self.h2[[a, a, b, b], [b, b, a, a], [c, d, c, d], [d, c, d, c]] = value
        elif filled == (True, True, False, False):
            self.check(line, self.h1[i, j], value)
            self.h1[i, j] = self.h1[j, i] = value
        elif filled == (False, False, False, False):
            self.check(line, self.constant, value)
            self.constant = value
        elif filled != (True, False, False, False):
            self.wrong("orbital numbers i j k l, i j 0 0, i 0 0 0 or 0 0 0 0", repr(line[:60]))

    def check(self, line: str, before: float, value: float) -> None:
        if abs(before - value) > SYMMETRY_TOLERANCE:  # False where nothing was placed: NaN
            self.wrong(f"the value {float(before)!r} that an earlier line gives this integral", repr(line[:60]))


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        elif path.suffix == ".gz":
            raise ValueError(f"{path}, line 1: expected gzip data, as the name says. Got {data[:20]!r}.")
        return data.decode("utf-8")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: expected whole gzip data. Got a truncated or damaged file: {error}.") from error
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {number}: expected text. Got the byte {data[error.start]:#04x}.") from error


def write(path: str | os.PathLike[str], integrals: Integrals, cutoff: float = 0.0) -> Path:
    """Write an FCIDUMP file with every digit, gzip if the name ends in `.gz`; returns its path.

    Reading it again gives the same numbers bit for bit, and equal integrals give equal bytes.

    Args:
        path: of the file, which is replaced.
        integrals: what to write.
        cutoff: integrals of at most this size, in hartree, are left out.

    Raises:
        TypeError: if `integrals` are of another type.
        ValueError: if `cutoff` is negative.
    """
    checks.instance("integrals", integrals, Integrals)
    cutoff = checks.real("cutoff", cutoff, minimum=0.0)
    n, (up, down) = integrals.orbitals, integrals.electrons
    head = f" &FCI NORB={n},NELEC={up + down},MS2={up - down},\n  ORBSYM={'1,' * n}\n  ISYM=1,\n &END\n"
    body = "".join(_lines(integrals.h2, integrals.h1, cutoff))
    data = f"{head}{body}{integrals.constant!r} 0 0 0 0\n".encode()
    target = Path(path)
    # No time stamp and no name inside, so that equal integrals give equal files.
    target.write_bytes(gzip.compress(data, 9, mtime=0) if target.suffix == ".gz" else data)
    return target


def _lines(h2: NDArray[np.float64], h1: NDArray[np.float64], cutoff: float) -> Iterator[str]:
    n = len(h1)
    pairs = [(p, q) for p in range(n) for q in range(p + 1)]
    for a, (p, q) in enumerate(pairs):
        for r, s in pairs[: a + 1]:
            if abs(h2[p, q, r, s]) > cutoff:
                yield f"{float(h2[p, q, r, s])!r} {p + 1} {q + 1} {r + 1} {s + 1}\n"
    for p, q in pairs:
        if abs(h1[p, q]) > cutoff:
            yield f"{float(h1[p, q])!r} {p + 1} {q + 1} 0 0\n"
