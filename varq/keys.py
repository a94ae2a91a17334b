"""Counter-based random keys: every random number of a run is a function of the run's seed and of where it is used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

__all__ = ["Key", "as_key"]


@dataclass(frozen=True, slots=True)
class Key:
    """A node in a tree of independent random streams.

    Folding never looks at history, so the number drawn at step 40 does not depend on what steps 1 to 39 did, nor on the
    machine.  The children of a key are SHA-256 digests of the parent's words and the folded integers, which NumPy's
    Philox generator (a counter-based generator, Salmon et al., SC 2011) accepts as a 128-bit key.  The bits of that
    stream are the same in every version of NumPy; what a `Generator` makes of them (a normal number, a choice) may
    change with a version, as NumPy's policy on streams (NEP 19) says.

    Args:
        words: the 16 bytes of the key.

    Example:
        >>> root = Key.from_seed(7)
        >>> root.fold(3) == root.fold(3), root.fold(3) == root.fold(4)
        (True, False)
        >>> float(root.fold(3).generator().random()) == float(root.fold(3).generator().random())
        True
    """

    words: bytes

    @classmethod
    def from_seed(cls, seed: int) -> Key:
        """The root key of an integer seed of any size."""
        return cls(hashlib.sha256(f"varq-key:{int(seed)}".encode()).digest()[:16])

    def fold(self, *path: int | str | np.generic) -> Key:
        """The child key at `path`; `fold(a).fold(b)` and `fold(a, b)` are the same key."""
        words = self.words
        for part in path:
            plain = part.item() if isinstance(part, np.generic) else part  # NumPy's numbers have another repr
            words = hashlib.sha256(words + repr(plain).encode()).digest()[:16]
        return Key(words)

    def generator(self) -> np.random.Generator:
        """A fresh NumPy generator; two calls give generators that draw the same numbers."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self.words, "little")))

    def seed(self) -> int:
        """A 31-bit integer for libraries that take a plain integer seed."""
        return int.from_bytes(self.words[:4], "little") & 0x7FFFFFFF

    @property
    def hex(self) -> str:
        """The key as 32 hexadecimal digits, as kept in the journal."""
        return self.words.hex()


def as_key(key: Key | int) -> Key:
    """`key` itself, or the root key of an integer seed.

    Raises:
        TypeError: if `key` is neither a `Key` nor an integer.
    """
    if isinstance(key, Key):
        return key
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return Key.from_seed(int(key))
    raise TypeError(f"key must be a varq Key or an integer seed. Got {type(key).__name__}. Use an integer such as 0.")
