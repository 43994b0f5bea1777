"""Ids of a page's elements, numbered anew for each page, so that equal results give equal pages."""

from __future__ import annotations

from collections import Counter

_used: Counter[str] = Counter()


def restart() -> None:
    """A new page begins."""
    _used.clear()


def new(kind: str) -> str:
    """'chart-1', 'chart-2', ..."""
    _used[kind] += 1
    return f"{kind}-{_used[kind]}"
