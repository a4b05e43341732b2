"""The models of the page, by name."""

from __future__ import annotations

from resolvent.explorer.elliptical import ELLIPTICAL
from resolvent.explorer.in_context import IN_CONTEXT
from resolvent.explorer.pooled import POOLED
from resolvent.explorer.sparse_token import SPARSE_TOKEN
from resolvent.explorer.state import Tab

__all__ = ["TABS"]

TABS: dict[str, Tab] = {tab.name: tab for tab in (POOLED, SPARSE_TOKEN, IN_CONTEXT, ELLIPTICAL)}
