"""The checks of the store conformance suite on objects: created once, read exactly, listed at once."""

from datetime import timedelta
from itertools import pairwise

import pytest

from ckpt_archive.digest import crc32c
from ckpt_archive.errors import (
    AlreadyExistsError,
    ChecksumRefusedError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
)
from ckpt_archive.executor import Executor
from ckpt_archive.store.body import Body, Region
from ckpt_archive.store.protocol import Store, list_all
from ckpt_archive.testing.conformance_base import (
    FailingSource,
    Fixtures,
    ShortSource,
    SinkFailedError,
    fetched,
    get,
    pages,
    pattern,
    put,
)

_RACERS = 8


class CreateConformance(Fixtures):
    """Objects are made once, whole, and of the bytes they were digested from."""

    def test_what_was_created_is_read(self, store: Store) -> None:
        """By every verb that reads, and they agree."""
        made = store.create("folder/key", Body.of(b"content"))
        found = store.read("folder/key", limit_bytes=100)
        head = store.head("folder/key")
        assert found.data == get(store, "folder/key") == b"content"
        assert {info.key for info in (made, found.info, head)} == {"folder/key"}
        assert {info.size_bytes for info in (made, found.info, head)} == {7}
        assert found.info.etag == head.etag
        assert head.modified is not None
        assert head.modified.utcoffset() == timedelta(0)

    @pytest.mark.parametrize("size_bytes", [0, 1, (3 << 20) + 5])
    def test_an_object_of_any_size(self, store: Store, size_bytes: int) -> None:
        """Empty, and larger than any buffer."""
        data = pattern(size_bytes)
        assert store.create("key", Body.of(data)).size_bytes == size_bytes
        assert store.read("key", limit_bytes=size_bytes).data == data

    def test_a_body_of_many_regions(self, store: Store) -> None:
        """As packed objects are sent; some of the regions empty."""
        data = pattern(300_000)
        source = Body.of(data).regions[0].source
        cuts = [0, 1, 1, 100_000, 250_000, 300_000]
        regions = tuple(Region(source, low, high - low) for low, high in pairwise(cuts))
        store.create("key", Body(regions, crc32c(data)))
        assert get(store, "key") == data

    def test_the_second_create_is_refused_and_the_first_stays(self, store: Store) -> None:
        """Also when it brings the same bytes: comparing is for the caller."""
        store.create("key", Body.of(b"first"))
        for data in (b"second", b"first"):
            with pytest.raises(AlreadyExistsError):
                store.create("key", Body.of(data))
        assert get(store, "key") == b"first"

    def test_of_many_creates_at_once_one_wins(self, store: Store, executor: Executor) -> None:
        """And the object is the winner's."""

        def race(number: int) -> int | None:
            try:
                store.create("race/key", Body.of(f"racer {number}".encode()))
            except AlreadyExistsError:
                return None
            return number

        winners = [
            number for number in executor.map_unordered(race, range(_RACERS), limit=_RACERS) if number is not None
        ]
        assert len(winners) == 1
        assert get(store, "race/key") == f"racer {winners[0]}".encode()

    def test_create_refuses_bytes_that_are_not_those_of_the_checksum(self, store: Store) -> None:
        """They changed on the disk or on the way; nothing is left of them."""
        with pytest.raises(ChecksumRefusedError):
            store.create("key", Body(Body.of(b"changed").regions, crc32c(b"digested")))
        with pytest.raises(NotFoundError):
            store.head("key")
        assert not store.list("").objects

    def test_a_local_file_that_can_not_be_read_is_not_the_store_s_failure(self, store: Store) -> None:
        """Its own error comes out, and nothing is created."""
        with pytest.raises(EOFError):
            store.create("key", Body((Region(ShortSource(), 0, 1000),), 1))
        with pytest.raises(IntegrityError, match="changed after it was sealed"):
            store.create("key", Body((Region(FailingSource(), 0, 1000),), 1))
        with pytest.raises(NotFoundError):
            store.head("key")

    @pytest.mark.parametrize("key", ["", "/key", "folder/", "a//b", "../key", "a/../b", "a/./b", "k" * 1025])
    def test_a_key_that_is_no_plain_path_is_refused(self, store: Store, key: str) -> None:
        """Before anything is sent."""
        with pytest.raises(InvalidInputError):
            store.create(key, Body.of(b""))
        with pytest.raises(InvalidInputError):
            store.start_upload(key)

    @pytest.mark.parametrize("key", ["with space+plus", "per%20cent&?#", "é/ключ/鍵", ".hidden/-x", "quote'\"<>"])
    def test_a_key_is_any_text(self, store: Store, key: str) -> None:
        """And is listed as it was given."""
        put(store, key)
        assert get(store, key) == key.encode()
        assert [info.key for info in list_all(store, key[:1])] == [key]

    def test_delete(self, store: Store) -> None:
        """Twice does no harm, and the key is free again."""
        put(store, "a/key", "a/other")
        store.delete("a/key")
        store.delete("a/key")
        with pytest.raises(NotFoundError):
            store.head("a/key")
        assert [info.key for info in list_all(store, "")] == ["a/other"]
        put(store, "a/key")


class ReadConformance(Fixtures):
    """Nothing else is read than what was asked for."""

    def test_what_is_not_there(self, store: Store) -> None:
        """Neither a key nor a folder on the way to one."""
        put(store, "folder/key")
        for key in ("nothing", "folder/nothing", "folder", "folder/key/below"):
            with pytest.raises(NotFoundError):
                store.head(key)
            with pytest.raises(NotFoundError):
                store.read(key, limit_bytes=10)
            # Some look at the ETag first. Nobody fetches what no HEAD has shown.
            with pytest.raises((NotFoundError, ConflictError)):
                store.fetch(key, offset=0, length=1, etag="0", sink=lambda _: None)

    def test_an_object_larger_than_the_limit_is_not_read(self, store: Store) -> None:
        """One of exactly the limit is."""
        store.create("key", Body.of(b"12345"))
        assert store.read("key", limit_bytes=5).data == b"12345"
        with pytest.raises(IntegrityError):
            store.read("key", limit_bytes=4)

    @pytest.mark.parametrize(("offset", "length"), [(0, 1), (0, 700_000), (1, 699_998), (699_999, 1), (300_000, 0)])
    def test_a_range(self, store: Store, offset: int, length: int) -> None:
        """The first byte, the last byte, all, none."""
        data = pattern(700_000)
        store.create("key", Body.of(data))
        assert fetched(store, store.head("key"), offset, length) == data[offset : offset + length]

    def test_a_range_of_whatever_object_is_there(self, store: Store) -> None:
        """By a reader that has key and size from a record, and has asked for no ETag."""
        put(store, "key")
        for offset, length in ((1, 2), (3, 0)):
            data = bytearray()
            store.fetch("key", offset=offset, length=length, etag=None, sink=data.extend)
            assert bytes(data) == b"key"[offset : offset + length]
        with pytest.raises(IntegrityError):
            store.fetch("key", offset=1, length=3, etag=None, sink=lambda _: None)
        with pytest.raises(NotFoundError):
            store.fetch("nothing", offset=0, length=1, etag=None, sink=lambda _: None)

    def test_a_range_beyond_the_end_is_an_error(self, store: Store) -> None:
        """Never fewer bytes without a word."""
        put(store, "key")
        with pytest.raises(IntegrityError):
            fetched(store, store.head("key"), 1, 3)

    def test_a_range_of_another_object_than_the_reader_began_with(self, store: Store) -> None:
        """Somebody replaced it: the two halves never come together."""
        store.create("key", Body.of(b"first"))
        before = store.head("key")
        store.delete("key")
        store.create("key", Body.of(b"other"))
        with pytest.raises(ConflictError):
            fetched(store, before, 0, 5)

    def test_what_the_sink_raises_comes_out_as_it_is(self, store: Store) -> None:
        """Even if it looks like a failure of the store's own file system or network."""
        put(store, "key")
        info = store.head("key")
        for error in (SinkFailedError("full"), OSError("the disk of the reader"), ConnectionError("its network")):

            def fail(_: memoryview, error: Exception = error) -> None:
                raise error

            with pytest.raises(type(error)) as caught:
                store.fetch("key", offset=0, length=3, etag=info.etag, sink=fail)
            assert caught.value is error


class ListConformance(Fixtures):
    """Everything that was created is listed at once, in order, in pages, once."""

    KEYS = tuple(f"data/run/{number:03d}" for number in range(7))

    def test_what_was_created_is_listed(self, store: Store) -> None:
        """With the size and ETag of HEAD, and times of the same clock."""
        put(store, *self.KEYS)
        page = store.list("data/run/")
        assert [info.key for info in page.objects] == list(self.KEYS)
        head = store.head(self.KEYS[3])
        assert (page.objects[3].size_bytes, page.objects[3].etag) == (head.size_bytes, head.etag)
        modified = page.objects[3].modified
        assert modified is not None
        assert abs(page.store_time - modified) < timedelta(minutes=10)

    def test_nothing(self, store: Store) -> None:
        """An empty page, no error."""
        page = store.list("no/such/folder/")
        assert (page.objects, page.prefixes, page.next_token) == ((), (), None)

    @pytest.mark.parametrize("limit", [1, 2, 7, 8, 1000])
    def test_pages(self, store: Store, limit: int) -> None:
        """Every key once, whatever the size of a page."""
        put(store, *self.KEYS, "data/runner", "date")
        assert pages(store, "data/run/", limit=limit) == list(self.KEYS)

    def test_a_page_of_nothing_is_refused(self, store: Store) -> None:
        """More than a thousand are a thousand."""
        with pytest.raises(InvalidInputError):
            store.list("", limit=0)
        assert store.list("", limit=5000).next_token is None

    def test_a_prefix_is_text_and_not_a_folder(self, store: Store) -> None:
        """It may end within a name."""
        put(store, "a/b1", "a/b2/c", "a/c", "ab")
        assert sorted(pages(store, "a/b", limit=10)) == ["a/b1", "a/b2/c"]

    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_folders(self, store: Store, limit: int) -> None:
        """With a delimiter: the objects of one level, and the folders below it, each once."""
        put(store, "m/b/1/x", "m/b/1/y", "m/b/2", "m/c/1", "m/d", "n/e")
        assert sorted(pages(store, "m/", limit=limit, delimiter="/")) == ["m/b/", "m/c/", "m/d"]
        assert sorted(pages(store, "", limit=limit, delimiter="/")) == ["m/", "n/"]

    def test_a_folder_without_objects_is_not_listed(self, store: Store) -> None:
        """Somebody deleted what was in it."""
        put(store, "m/b/key", "m/c/key")
        store.delete("m/b/key")
        assert pages(store, "m/", limit=10, delimiter="/") == ["m/c/"]

    @pytest.mark.parametrize("limit", [2, 100])
    def test_start_after(self, store: Store, limit: int) -> None:
        """Only later keys, whether or not the one named is there."""
        put(store, *self.KEYS)
        for after, first in ((self.KEYS[2], 3), (f"{self.KEYS[2]}0", 3), ("data/run/", 0), (self.KEYS[6], 7)):
            page = store.list("data/run/", start_after=after, limit=limit)
            assert [info.key for info in page.objects] == list(self.KEYS[first:][:limit])

    def test_list_is_in_byte_order_at_mixed_depths(self, store: Store) -> None:
        """Nothing of ours depends on it; audits of foreign buckets are easier where it holds."""
        keys = ["a-b", "a/b", "a0", "é", "z/a"]
        put(store, *sorted(keys, reverse=True))
        assert pages(store, "", limit=2) == sorted(keys)
