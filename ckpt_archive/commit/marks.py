"""Marks: empty objects whose name says all. One is created when what it says is so."""

from ckpt_archive.errors import AlreadyExistsError, NotFoundError
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Store


def is_marked(store: Store, key: str) -> bool:
    """Whether there is a mark."""
    try:
        store.head(key)
    except NotFoundError:
        return False
    return True


def mark(store: Store, key: str) -> bool:
    """Create a mark; whether it was not there."""
    try:
        store.create(key, Body.of(b""))
    except AlreadyExistsError:
        return False
    return True
