"""Buttons below a live table, where a notebook has widgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["ORDERS", "buttons"]

ORDERS = ("pause", "resume", "step", "stop")
_ICONS = ("pause", "play", "step-forward", "stop")


def buttons(ask: Callable[[str], None]) -> Any | None:
    """A row of buttons that call `ask` with their name; None where ipywidgets is not installed.

    Args:
        ask: is given "pause", "resume", "step" or "stop"; what it raises is shown beside the buttons.
    """
    try:
        import ipywidgets
    except ImportError:
        return None
    said = ipywidgets.Label()

    def pressed(button: Any) -> None:
        try:
            ask(button.description)
            said.value = f"asked to {button.description}"
        except Exception as error:
            said.value = str(error)

    row = []
    for order, icon in zip(ORDERS, _ICONS, strict=True):
        button = ipywidgets.Button(description=order, icon=icon, layout=ipywidgets.Layout(width="auto"))
        button.on_click(pressed)
        row.append(button)
    return ipywidgets.HBox([*row, said])
