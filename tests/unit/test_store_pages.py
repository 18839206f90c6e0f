"""Listings page by page, also of a server that does not get on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ckpt_archive.errors import IntegrityError
from ckpt_archive.store.body import Body
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Listing, ObjectInfo, list_all, list_folders, list_pages

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Paged(MemoryStore):
    """A store that answers a listing with these pages, the last one again and again, and counts how often it is asked."""

    def __init__(self, pages: Sequence[Sequence[str]], *, ends: bool) -> None:
        super().__init__("memory://pages")
        self._pages = pages
        self._ends = ends
        self.asked: list[int] = []

    def list(
        self, prefix: str, *, delimiter: str = "", token: str | None = None, limit: int = 1000, start_after: str = ""
    ) -> Listing:
        number = int(token or 0)
        self.asked.append(limit)
        keys = self._pages[min(number, len(self._pages) - 1)]
        is_last = self._ends and number >= len(self._pages) - 1
        objects = tuple(ObjectInfo(key, 1, "etag", NOW, "") for key in keys)
        return Listing(objects, (), None if is_last else str(number + 1), NOW)


def test_pages_are_asked_for_when_they_are_needed() -> None:
    store = Paged([["a", "b"], [], ["c"]], ends=True)
    pages = list_pages(store, "", first_limit=10)
    assert [info.key for info in next(pages).objects] == ["a", "b"]
    assert store.asked == [10]
    assert [info.key for page in pages for info in page.objects] == ["c"]
    assert store.asked == [10, 1000, 1000]


@pytest.mark.parametrize("pages", [[["a", "b"]], [["a", "b"], ["b"]], [["b"], ["a"]], [["a"], []], [[]]])
def test_a_server_that_repeats_itself_for_ever_is_not_asked_for_ever(pages: list[list[str]]) -> None:
    store = Paged(pages, ends=False)
    with pytest.raises(IntegrityError, match="does not get on"):
        list_all(store, "")
    assert len(store.asked) < 1_100


def test_folders_over_several_pages() -> None:
    store = MemoryStore("memory://folders")
    for number in range(2_500):
        store.create(f"runs/{number:05d}/x", Body.of(b""))
    assert list(list_folders(store, "runs/")) == [f"runs/{number:05d}/" for number in range(2_500)]


def test_a_server_that_goes_round_in_circles() -> None:
    class Circle(Paged):
        def list(
            self,
            prefix: str,
            *,
            delimiter: str = "",
            token: str | None = None,
            limit: int = 1000,
            start_after: str = "",
        ) -> Listing:
            page = super().list(prefix, token=str(int(token or 0) % 2), limit=limit)
            return replace(page, next_token=str((int(token or 0) + 1) % 2))

    with pytest.raises(IntegrityError, match="does not get on"):
        list_all(Circle([["a"], ["b"]], ends=False), "")


def test_a_server_that_sorts_otherwise_is_believed() -> None:
    store = Paged([["a/x"], ["a-x"], ["a!x"], ["b"]], ends=True)
    assert [info.key for info in list_all(store, "")] == ["a/x", "a-x", "a!x", "b"]
