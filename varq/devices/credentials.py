"""What must not be kept: names under which credentials travel are refused in settings and blotted out elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

__all__ = ["KEPT_BACK", "clean", "clean_text", "refuse"]

KEPT_BACK = "(not kept)"
"""What stands in place of something that looks like a credential."""

_ANYWHERE = re.compile(r"token|secret|passw|passphrase|credential|api_?key|access_?key|bearer", re.IGNORECASE)
_WORDS = {"key", "keys", "auth", "authorization", "pwd"}
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # of names_like_this, likeThis and LIKE-THIS
_HINT = re.compile(r"://|bearer|basic|token|secret|passw|passphrase|credential|key|authorization", re.IGNORECASE)
_LOGIN = re.compile(r"(\w://[^/\s:@]*):[^/\s@]+@")  # a password inside an address
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_PAIR = re.compile(
    r"([\w.-]*(?:token|secret|passw\w*|passphrase|credentials?|api[_-]?key|access[_-]?key\w*|authorization)[\w.-]*"
    r"[\"']?\s*[=:]\s*)(?!\(not kept\))(\"[^\"]*\"|'[^']*'|[^\s\"',;&)}\]]+)",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def _suspect(name: str) -> bool:
    """Whether a name is that of a credential."""
    return bool(_ANYWHERE.search(name)) or any(part.lower() in _WORDS for part in _PARTS.findall(name))


_GIVEN_AGAIN = "credentials are given again to whoever opens the device, and never kept"


def refuse(name: str, value: Any, hint: str = _GIVEN_AGAIN) -> None:
    """Raises if JSON data holds what looks like credentials.

    Args:
        name: of the argument, for the message.
        value: JSON data; objects among it are not looked into.
        hint: what becomes of credentials instead.

    Raises:
        ValueError: names the place, and never shows what is there.

    Example:
        >>> refuse("settings", {"mode": "job", "account": {"name": "lab", "token": "?"}})
        Traceback (most recent call last):
            ...
        ValueError: settings must hold no credentials. Got the entry 'account.token'. Leave it out: ...
    """
    place = _found(value, "")
    if place is not None:
        raise ValueError(f"{name} must hold no credentials. Got the entry {place!r}. Leave it out: {hint}.")


def _found(value: Any, place: str) -> str | None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            here = f"{place}.{key}" if place else str(key)
            if _suspect(str(key)):
                return here
            if (found := _found(inner, here)) is not None:
                return found
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            if (found := _found(inner, f"{place}[{number}]")) is not None:
                return found
    elif isinstance(value, str) and clean_text(value) != value:
        return place or "(the text itself)"
    return None


def clean(value: Any) -> Any:
    """JSON data with `KEPT_BACK` in place of what looks like credentials: what a vendor says is kept, those are not.

    Example:
        >>> clean({"execution": {"spans": 3}, "accessToken": "x"})
        {'execution': {'spans': 3}, 'accessToken': '(not kept)'}
    """
    if isinstance(value, dict):
        return {str(k): KEPT_BACK if _suspect(str(k)) and v is not None else clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(inner) for inner in value]
    return clean_text(value) if isinstance(value, str) else value


def clean_text(text: str) -> str:
    """A text for people with `KEPT_BACK` in place of what looks like credentials, and of nothing else.

    Example:
        >>> clean_text("401 for https://ada:pw@host/jobs?access_token=abc&n=1")
        '401 for https://ada:(not kept)@host/jobs?access_token=(not kept)&n=1'
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # half a character pair is no text for a file
    if not _HINT.search(text):
        return text
    text = _LOGIN.sub(rf"\1:{KEPT_BACK}@", text)
    text = _BEARER.sub(rf"\1 {KEPT_BACK}", text)
    return _PAIR.sub(rf"\g<1>{KEPT_BACK}", text)
