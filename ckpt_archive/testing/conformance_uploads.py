"""The checks of the store conformance suite on multipart uploads."""

import pytest

from ckpt_archive.digest import crc32c
from ckpt_archive.errors import (
    AlreadyExistsError,
    ChecksumRefusedError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    UploadGoneError,
)
from ckpt_archive.executor import Executor
from ckpt_archive.store.body import Body, Region
from ckpt_archive.store.protocol import PartInfo, Store, list_all
from ckpt_archive.testing.conformance_base import FailingSource, Fixtures, ShortSource, get, may_raise, pattern


class UploadConformance(Fixtures):
    """Multipart uploads: invisible until they are complete, resumable from what the store lists."""

    KEY = "data/run/object"

    @pytest.fixture
    def part_size_bytes(self, store: Store) -> int:
        """Of all parts but the last."""
        return max(store.limits.min_part_size_bytes, 1000)

    def test_parts_sent_in_any_order_are_joined_in_theirs(self, store: Store, part_size_bytes: int) -> None:
        """The object appears whole, and the upload is gone."""
        data = pattern(2 * part_size_bytes + 17)
        pieces = {n: data[(n - 1) * part_size_bytes : n * part_size_bytes] for n in (1, 2, 3)}
        upload_id = store.start_upload(self.KEY)
        sent = {n: store.upload_part(self.KEY, upload_id, n, Body.of(pieces[n])) for n in (3, 1, 2)}
        assert store.list_parts(self.KEY, upload_id) == (sent[1], sent[2], sent[3])
        with pytest.raises(NotFoundError):
            store.head(self.KEY)
        assert not list_all(store, "")
        store.complete_upload(self.KEY, upload_id, (sent[1], sent[2], sent[3]))
        assert get(store, self.KEY) == data
        assert [(info.key, info.size_bytes) for info in list_all(store, "")] == [(self.KEY, len(data))]
        assert not store.list_uploads("")

    def test_another_process_completes_from_what_is_listed(self, store: Store) -> None:
        """It knows nothing but the key."""
        store.upload_part(self.KEY, store.start_upload(self.KEY), 1, Body.of(b"all of it"))
        (upload,) = store.list_uploads(self.KEY)
        store.complete_upload(self.KEY, upload.upload_id, store.list_parts(self.KEY, upload.upload_id))
        assert get(store, self.KEY) == b"all of it"

    def test_parts_sent_at_once(self, store: Store, executor: Executor, part_size_bytes: int) -> None:
        """From several threads, as they always are."""
        upload_id = store.start_upload(self.KEY)
        bodies = {number: pattern(part_size_bytes, number) for number in (1, 2, 3)}

        def send(number: int) -> PartInfo:
            return store.upload_part(self.KEY, upload_id, number, Body.of(bodies[number]))

        sent = sorted(executor.map_unordered(send, bodies, limit=3), key=lambda part: part.number)
        store.complete_upload(self.KEY, upload_id, tuple(sent))
        assert get(store, self.KEY) == b"".join(bodies.values())

    def test_a_part_is_refused_when_its_bytes_are_not_those_of_the_checksum(self, store: Store) -> None:
        """And is not listed."""
        upload_id = store.start_upload(self.KEY)
        with pytest.raises(ChecksumRefusedError):
            store.upload_part(self.KEY, upload_id, 1, Body(Body.of(b"changed").regions, crc32c(b"digested")))
        assert store.list_parts(self.KEY, upload_id) == ()

    def test_a_part_of_a_local_file_that_can_not_be_read(self, store: Store) -> None:
        """The file's own error comes out, and no part is listed."""
        upload_id = store.start_upload(self.KEY)
        with pytest.raises(EOFError):
            store.upload_part(self.KEY, upload_id, 1, Body((Region(ShortSource(), 0, 1000),), 1))
        with pytest.raises(IntegrityError, match="changed after it was sealed"):
            store.upload_part(self.KEY, upload_id, 1, Body((Region(FailingSource(), 0, 1000),), 1))
        assert store.list_parts(self.KEY, upload_id) == ()

    def test_a_part_sent_again_is_listed_once(self, store: Store) -> None:
        """Its first answer was lost."""
        upload_id = store.start_upload(self.KEY)
        for _ in range(2):
            part = store.upload_part(self.KEY, upload_id, 1, Body.of(b"part"))
        assert store.list_parts(self.KEY, upload_id) == (part,)
        store.complete_upload(self.KEY, upload_id, (part,))
        assert get(store, self.KEY) == b"part"

    def test_part_numbers_are_sorted_as_numbers(self, store: Store) -> None:
        """And there may be gaps while parts are on their way."""
        upload_id = store.start_upload(self.KEY)
        for number in (10, 9, 2, 11):
            store.upload_part(self.KEY, upload_id, number, Body.of(b"part"))
        assert [part.number for part in store.list_parts(self.KEY, upload_id)] == [2, 9, 10, 11]

    def test_a_part_number_out_of_range_is_refused(self, store: Store) -> None:
        """From 1 to the limit."""
        upload_id = store.start_upload(self.KEY)
        for number in (0, store.limits.max_parts + 1):
            with pytest.raises(InvalidInputError):
                store.upload_part(self.KEY, upload_id, number, Body.of(b"part"))

    def test_complete_with_a_part_that_was_never_sent_is_refused_and_the_upload_goes_on(
        self, store: Store, part_size_bytes: int
    ) -> None:
        """Nothing appears under the key."""
        upload_id = store.start_upload(self.KEY)
        first = store.upload_part(self.KEY, upload_id, 1, Body.of(pattern(part_size_bytes)))
        with pytest.raises(InvalidInputError):
            store.complete_upload(self.KEY, upload_id, (first, PartInfo(2, 4, first.etag)))
        with pytest.raises(NotFoundError):
            store.head(self.KEY)
        second = store.upload_part(self.KEY, upload_id, 2, Body.of(b"more"))
        store.complete_upload(self.KEY, upload_id, (first, second))
        assert store.head(self.KEY).size_bytes == part_size_bytes + 4

    def test_complete_onto_a_key_that_is_taken(self, store: Store) -> None:
        """The object that was there stays; whoever races must not rely on it."""
        upload_id = store.start_upload(self.KEY)
        part = store.upload_part(self.KEY, upload_id, 1, Body.of(b"second"))
        store.create(self.KEY, Body.of(b"first"))
        with pytest.raises(AlreadyExistsError):
            store.complete_upload(self.KEY, upload_id, (part,))
        assert get(store, self.KEY) == b"first"
        store.abort_upload(self.KEY, upload_id)
        assert not store.list_uploads("")

    def test_complete_twice_leaves_the_object_as_it_is(self, store: Store) -> None:
        """The first answer was lost. Stores differ in what they say, so callers look at the object."""
        upload_id = store.start_upload(self.KEY)
        parts = (store.upload_part(self.KEY, upload_id, 1, Body.of(b"part")),)
        store.complete_upload(self.KEY, upload_id, parts)
        with may_raise(UploadGoneError, AlreadyExistsError):
            store.complete_upload(self.KEY, upload_id, parts)
        assert get(store, self.KEY) == b"part"

    def test_an_upload_that_was_given_up(self, store: Store) -> None:
        """It is not listed and has no parts; giving it up again does no harm."""
        upload_id = store.start_upload(self.KEY)
        store.upload_part(self.KEY, upload_id, 1, Body.of(b"part"))
        store.abort_upload(self.KEY, upload_id)
        store.abort_upload(self.KEY, upload_id)
        with pytest.raises(UploadGoneError):
            store.list_parts(self.KEY, upload_id)
        assert not store.list_uploads("")
        with pytest.raises(NotFoundError):
            store.head(self.KEY)

    def test_a_part_of_an_upload_that_was_given_up(self, store: Store) -> None:
        """It was on its way."""
        upload_id = store.start_upload(self.KEY)
        store.abort_upload(self.KEY, upload_id)
        with pytest.raises(UploadGoneError):
            store.upload_part(self.KEY, upload_id, 1, Body.of(b"part"))

    def test_complete_of_an_upload_that_was_given_up(self, store: Store) -> None:
        """Nothing appears under the key."""
        upload_id = store.start_upload(self.KEY)
        part = store.upload_part(self.KEY, upload_id, 1, Body.of(b"part"))
        store.abort_upload(self.KEY, upload_id)
        with pytest.raises(UploadGoneError):
            store.complete_upload(self.KEY, upload_id, (part,))
        with pytest.raises(NotFoundError):
            store.head(self.KEY)

    def test_uploads_are_listed_by_prefix(self, store: Store) -> None:
        """Also two of one key."""
        uploads = {(key, store.start_upload(key)) for key in ("a/b/1", "a/b/1", "a/b/2", "a/c", "b")}
        assert len(uploads) == 5
        for prefix in ("", "a/", "a/b/", "a/b/1", "x"):
            listed = [(upload.key, upload.upload_id) for upload in store.list_uploads(prefix)]
            assert sorted(listed) == sorted(pair for pair in uploads if pair[0].startswith(prefix))
