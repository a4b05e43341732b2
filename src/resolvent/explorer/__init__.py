"""The explorer: a local page on which the models answer while one moves their parameters. Needs the ``app`` extra."""

from typing import Any

__all__ = ["TABS"]


def __getattr__(name: str) -> Any:
    if name != "TABS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from resolvent.explorer.tabs import TABS  # at its first use: the command line needs the command alone

    return TABS
