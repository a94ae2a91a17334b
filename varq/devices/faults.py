"""What can go wrong between a session and a device, told apart by what to do about it."""

from __future__ import annotations

__all__ = [
    "DeviceError",
    "ExpiredError",
    "GoneError",
    "LostError",
    "OfflineError",
    "PartialError",
    "PermanentError",
    "TransientError",
    "UncertainError",
]


class DeviceError(RuntimeError):
    """A device did not do its part.  The text names the device, what came, and what to do; it holds no credentials."""


class TransientError(DeviceError):
    """It may work on the next try, and nothing was done: the network, a server's 5xx, throttling."""


class ExpiredError(TransientError):
    """The vendor's session has ended: it is opened again, and the call repeated."""


class OfflineError(TransientError):
    """The machine takes no jobs now, and will again: what is to be sent waits for it."""


class PermanentError(DeviceError):
    """Trying again does not help: refused credentials, a circuit the machine cannot run, a retired device."""


class LostError(PermanentError):
    """The device takes no more jobs: it was retired or taken away.  Another one may go on with its part."""


class UncertainError(DeviceError):
    """A job may or may not have been received: it is looked for, and never sent again by itself."""


class PartialError(UncertainError):
    """A part of a job was received: sent again under its tag it is completed, and nothing of it runs twice."""


class GoneError(PermanentError):
    """The vendor no longer has the job or its result."""
