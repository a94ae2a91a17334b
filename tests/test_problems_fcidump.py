"""FCIDUMP files: what is written is read again bit for bit, and whatever is wrong is said with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varq.problems import fcidump
from varq.problems.integrals import Integrals

HELIUM = """ &FCI NORB=  2,NELEC=  2,MS2=0,
  ORBSYM=1,1,
  ISYM=1,
 &END
  1.0D+00  1 1 1 1
  2.0e-01  2 1 2 1
  0.75     2 2 1 1
  0.5      2 2 2 2
 -2.0      1 1 0 0
  0.25     2 1 0 0
 -0.5      2 2 0 0
 -1.0      1 0 0 0
  0.125    0 0 0 0
"""
LINES = HELIUM.splitlines()


def random_integrals(orbitals: int, seed: int, electrons: tuple[int, int] = (1, 1)) -> Integrals:
    rng = np.random.default_rng(seed)
    h1 = rng.normal(size=(orbitals,) * 2)
    h2 = rng.normal(size=(orbitals,) * 4)
    for order in ((1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)):
        h2 = h2 + h2.transpose(order)
    return Integrals(h1 + h1.T, h2, float(rng.normal()), electrons)


def dumped(folder: Path, text: str, name: str = "he.fcidump") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def changed(number: int, line: str | None) -> str:
    """`HELIUM` with one line (counted from 1) replaced, or from there on cut off."""
    if line is None:
        return "\n".join(LINES[: number - 1]) + "\n"
    return "\n".join([*LINES[: number - 1], line, *LINES[number:]]) + "\n"


def test_all_eight_places_are_filled(tmp_path: Path) -> None:
    read = fcidump.read(dumped(tmp_path, HELIUM))
    assert read.electrons == (1, 1)
    assert read.constant == 0.125
    assert np.array_equal(read.h1, [[-2.0, 0.25], [0.25, -0.5]])
    places = {(1, 0, 1, 0), (0, 1, 1, 0), (1, 0, 0, 1), (0, 1, 0, 1)}
    assert {tuple(i) for i in np.argwhere(read.h2 == 0.2).tolist()} == places
    assert read.h2[0, 0, 1, 1] == read.h2[1, 1, 0, 0] == 0.75
    assert np.count_nonzero(read.h2) == 8


@given(orbitals=st.integers(1, 4), seed=st.integers(0, 2**32 - 1), zipped=st.booleans())
def test_what_is_written_is_read_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, orbitals: int, seed: int, zipped: bool
) -> None:
    folder = tmp_path_factory.mktemp("dumps")
    before = random_integrals(orbitals, seed, (orbitals, orbitals - 1))
    path = fcidump.write(folder / ("x.fcidump.gz" if zipped else "x.fcidump"), before)
    after = fcidump.read(path)
    assert np.array_equal(before.h1, after.h1)
    assert np.array_equal(before.h2, after.h2)
    assert (before.constant, before.electrons) == (after.constant, after.electrons)
    assert fcidump.write(folder / f"again{path.suffix}", after).read_bytes() == path.read_bytes()


def test_small_integrals_may_be_left_out(tmp_path: Path) -> None:
    given = Integrals(np.diag([-1.0, 1e-14]), np.zeros((2,) * 4), 0.0, (1, 0))
    assert fcidump.read(fcidump.write(tmp_path / "x", given, cutoff=1e-12)).h1[1, 1] == 0.0
    with pytest.raises(ValueError, match="cutoff must be at least 0"):
        fcidump.write(tmp_path / "x", given, cutoff=-1)
    with pytest.raises(TypeError, match="integrals must be of type Integrals"):
        fcidump.write(tmp_path / "x", np.eye(2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header", [" &FCI NORB=2,NELEC=1,MS2=1 /", "&fci norb = 2, nelec = 1 &end", "$FCI NORB=2 NELEC=1\n$END"]
)
def test_headers_of_other_programs(tmp_path: Path, header: str) -> None:
    assert fcidump.read(dumped(tmp_path, f"{header}\n -1.0 1 1 0 0\n\n 0.0 0 0 0 0\n")).electrons == (1, 0)


WRONG = [
    ("empty", "", r"he\.fcidump, line 0: expected the end of the header.*an empty file"),
    ("other file", "hello\n", r"he\.fcidump, line 1: expected the header, '&FCI NORB=.*Got 'hello'"),
    ("cut header", changed(4, None), r"line 3: expected the end of the header, '&END' or '/'. Got the end of the file"),
    ("no NORB", changed(1, "&FCI NELEC=2,"), r"line 4: expected NORB in the header.*Got a header with ISYM, NELEC"),
    ("bad NORB", changed(1, "&FCI NORB=two,NELEC=2,"), r"expected NORB in the header, an integer.*Got NORB=two"),
    ("huge NORB", changed(1, "&FCI NORB=900,NELEC=2,"), r"from 1 to 64. Got NORB=900"),
    (
        "too many electrons",
        changed(1, "&FCI NORB=2,NELEC=5,"),
        r"NELEC in the header, an integer from 1 to 4. Got NELEC=5",
    ),
    (
        "odd spin",
        changed(1, "&FCI NORB=2,NELEC=2,MS2=1,"),
        r"expected MS2 that fits 2 electrons in 2 orbitals. Got MS2=1",
    ),
    (
        "high spin",
        changed(1, "&FCI NORB=2,NELEC=3,MS2=3,"),
        r"expected MS2 that fits 3 electrons in 2 orbitals. Got MS2=3",
    ),
    ("unrestricted", changed(3, "IUHF=1,"), r"one set of orbitals for both spins. Got IUHF=1"),
    (
        "no constant",
        changed(13, None),
        r"line 12: expected the line of the constant.*Got the end of the file: is it cut",
    ),
    (
        "cut line",
        changed(7, "  0.75     2 2"),
        r"line 7: expected a value and four orbital numbers.*Got '  0.75     2 2'",
    ),
    ("not a number", changed(6, "0.2x 2 1 2 1"), r"line 6: .*the value must be a real number. Got '0.2x'"),
    ("complex", changed(6, "(0.2,0.1) 2 1 2 1"), r"line 6: .*the value must be a real number. Got '\(0.2,0.1\)'"),
    ("not finite", changed(6, "nan 2 1 2 1"), r"line 6: expected a finite value. Got 'nan'"),
    ("fraction index", changed(6, "0.2 2 1 2 1.5"), r"line 6: expected a value and four orbital numbers"),
    (
        "index too large",
        changed(8, "0.5 2 2 3 2"),
        r"line 8: expected orbital numbers from 0 to NORB=2. Got '0.5 2 2 3 2'",
    ),
    ("negative index", changed(8, "0.5 2 2 -1 2"), r"line 8: expected a value and four orbital numbers"),
    ("three indices", changed(8, "0.5 2 2 1 0"), r"line 8: expected orbital numbers i j k l, i j 0 0"),
    ("contradiction", changed(8, "0.5 1 2 1 2"), r"line 8: expected the value 0.2 that an earlier line gives"),
    ("two constants", HELIUM + "0.5 0 0 0 0\n", r"line 14: expected the value 0.125 that an earlier line gives"),
]


@pytest.mark.parametrize(("text", "match"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_said(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fcidump.read(dumped(tmp_path, text))


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_every_cut_of_a_gzip_file_is_seen(tmp_path: Path, kept: float) -> None:
    whole = fcidump.write(tmp_path / "x.gz", random_integrals(4, 3)).read_bytes()
    (tmp_path / "x.gz").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"x\.gz: expected whole gzip data. Got a truncated or damaged file"):
        fcidump.read(tmp_path / "x.gz")


@pytest.mark.parametrize("line", range(1, len(LINES) + 1))
def test_every_cut_of_a_plain_file_is_seen(tmp_path: Path, line: int) -> None:
    with pytest.raises(ValueError, match=r"he\.fcidump, line \d+: expected"):
        fcidump.read(dumped(tmp_path, changed(line, None)))


def test_damage_is_seen(tmp_path: Path) -> None:
    damaged = bytearray(gzip.compress(HELIUM.encode()))
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "x.gz").write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match="expected whole gzip data"):
        fcidump.read(tmp_path / "x.gz")
    with pytest.raises(ValueError, match=r"he\.gz, line 1: expected gzip data, as the name says. Got b' &FCI"):
        fcidump.read(dumped(tmp_path, HELIUM, "he.gz"))
    (tmp_path / "binary").write_bytes(HELIUM.encode()[:40] + b"\xff\xfe")
    with pytest.raises(ValueError, match=r"binary, line 2: expected text. Got the byte 0xff"):
        fcidump.read(tmp_path / "binary")
    with pytest.raises(FileNotFoundError, match="absent"):
        fcidump.read(tmp_path / "absent")


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "plain.name").write_bytes(gzip.compress(HELIUM.encode()))
    assert fcidump.read(tmp_path / "plain.name").orbitals == 2
