"""Marks that spare a pass the opening of all tables: empty objects beside them, derived like these.

A mark is created when what it says is so, and stays so: tables only ever grow. Whoever throws tables away throws all of
``index/`` away.
"""

from ckpt_archive.commit import layout
from ckpt_archive.store.protocol import Store

# A pass that was overtaken may still ask for one of these.
_KEPT = 16


def forget_old(store: Store, number: int, today: str) -> None:
    """Remove marks that nobody asks for any more: some of them, so that it takes no time; the rest another day."""
    for info in store.list(layout.INDEX_MARKS).objects:
        marked = layout.index_mark_number(info.key)
        if marked is not None and marked < number - _KEPT:
            store.delete(info.key)
    for info in store.list(layout.INDEX_DAYS).objects:
        if info.key < today:
            store.delete(info.key)
