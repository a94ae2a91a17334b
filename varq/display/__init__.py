"""What a person sees: live lines and tables of what goes on, and of what it came to."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varq.display.board import Board
    from varq.display.ledgers import ledger_html, ledger_table, ledger_text
    from varq.display.progress import Progress
    from varq.display.results import deviation_text, result_html, result_text, run_html
    from varq.display.studies import StudyBoard

_HOME = {
    "Board": "varq.display.board",
    "Progress": "varq.display.progress",
    "StudyBoard": "varq.display.studies",
    "deviation_text": "varq.display.results",
    "ledger_html": "varq.display.ledgers",
    "ledger_table": "varq.display.ledgers",
    "ledger_text": "varq.display.ledgers",
    "result_html": "varq.display.results",
    "result_text": "varq.display.results",
    "run_html": "varq.display.results",
}

__all__ = [
    "Board",
    "Progress",
    "StudyBoard",
    "deviation_text",
    "ledger_html",
    "ledger_table",
    "ledger_text",
    "result_html",
    "result_text",
    "run_html",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what a name of the table stands for when it is first used (PEP 562)."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
