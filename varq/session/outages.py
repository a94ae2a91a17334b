"""Devices of a spread that do not answer: left out, said once, and asked again after a while."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from varq.devices.faults import DeviceError, LostError, TransientError, UncertainError

__all__ = ["ANSWERS", "LEFT_OUT", "Roster", "is_loss"]

LEFT_OUT = "left out"  # kinds of notes
ANSWERS = "answers again"
_FIRST, _LONGEST = 60.0, 1800.0  # seconds after which a device is asked again; the wait doubles each time


def is_loss(error: object) -> bool:
    """Whether an error means that the device is not there, and that its circuits may go to another one.

    What outlived all tries, or a device that is gone.  A job that it surely has, and cannot be asked for, is then
    measured by another one too: it is called back when the device answers again, and paid for twice if it has run by
    then.  Not where a job may have been received, which waits for an answer, nor where trying another device would hide
    what is wrong with the request or the account.
    """
    return isinstance(error, (TransientError, LostError)) and not isinstance(error, UncertainError)


@dataclass
class _Outage:
    """Since when, why, and until when a device is not asked, on the roster's clock."""

    error: DeviceError
    wait: float
    until: float


class Roster:
    """Which devices of a spread are there.

    Args:
        names: of the devices.
        say: is told what a person should know.
        note: writes down a kind of note and its body.
        clock: seconds.
    """

    def __init__(
        self,
        names: Sequence[str],
        say: Callable[[str], None],
        note: Callable[[str, Mapping[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = names
        self._say = say
        self._note = note
        self._clock = clock
        self._out: dict[int, _Outage] = {}

    def live(self) -> list[int]:
        """The devices that are there, as far as it is known, or that it is time to ask again."""
        now = self._clock()
        return [k for k in range(len(self._names)) if k not in self._out or now >= self._out[k].until]

    def doubted(self, member: int) -> bool:
        """Whether a device did not answer when it was last asked."""
        return member in self._out

    def lost(self, member: int, error: DeviceError) -> None:
        """Leave a device out: for the session if it is gone, and else for a while."""
        before = self._out.get(member)
        if before is not None and self._clock() < before.until:
            return
        wait = _FIRST if before is None else min(_LONGEST, 2 * before.wait)
        gone = isinstance(error, LostError)
        self._out[member] = _Outage(error, wait, math.inf if gone else self._clock() + wait)
        if before is None:
            name = self._names[member]
            until = "for the rest of the session" if gone else "until it answers again"
            self._say(f"{name} is left out {until}: {error} What it has not finished goes to the others.")
            self._note(LEFT_OUT, {"device": name, "member": member, "why": str(error), "gone": gone})

    def answered(self, member: int) -> bool:
        """A device has done its part; whether it had been left out, and may have jobs that nobody could ask for."""
        if self._out.pop(member, None) is None:
            return False
        name = self._names[member]
        self._say(f"{name} answers again, and has its part of the circuits from now on.")
        self._note(ANSWERS, {"device": name, "member": member})
        return True

    def hope(self) -> None:
        """Ask all again that are not gone for good: there is nobody else."""
        for outage in self._out.values():
            if outage.until < math.inf:
                outage.until = self._clock()

    def nobody(self) -> LostError:
        """What is to be said when no device is left."""
        why = " ".join(f"{self._names[k]}: {self._out[k].error}" for k in sorted(self._out))
        return LostError(
            f"A spread needs a device that answers. None of {', '.join(self._names)} does. {why} What was measured is "
            "kept: resume the run when one answers, and only what is missing is sent."
        )
