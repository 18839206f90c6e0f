"""What the rest of the code may ask of an object store: one verb each, no flags, no conveniences.

There is no verb that overwrites: every object is created once, conditionally, and whoever finds the key taken reads it
and compares. There is no retry in here either: `store.retry` owns that for all stores.

Every implementation passes `testing.conformance`. All of them raise only errors of `ckpt_archive.errors`:
`NotFoundError`, `AlreadyExistsError`, `UploadGoneError`, `ChecksumRefusedError`, `ThrottledError`, `DeniedError`,
`UnavailableError` (nothing is known: it may have landed), `InvalidInputError`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ckpt_archive.errors import IntegrityError
from ckpt_archive.store.body import Body

Sink = Callable[[memoryview], None]
"""Takes the next bytes of an object, in order; the view is only valid during the call."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What the store can take. Defaults are those of S3 (Amazon S3 User Guide, "Multipart upload limits")."""

    min_part_size_bytes: int = 5 << 20
    max_part_size_bytes: int = 5 << 30
    max_parts: int = 10_000


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as a listing, HEAD or GET shows it.

    Attributes:
        key: Relative to the archive's prefix.
        size_bytes: Length.
        etag: Opaque, without quotes; names these bytes for conditional reads within one operation, never an identity.
        modified: The store's time of creation, or None where a verb does not tell.
        storage_class: As the store spells it; "" for its default.
    """

    key: str
    size_bytes: int
    etag: str
    modified: datetime | None = None
    storage_class: str = ""


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """A small object read whole."""

    info: ObjectInfo
    data: bytes


@dataclass(frozen=True, slots=True)
class PartInfo:
    """A part of a multipart upload, numbered from 1.

    Attributes:
        number: From 1.
        size_bytes: Length.
        etag: Opaque, without quotes; names these bytes when the upload is completed.
        crc32c: With which it was sent, where the store tells; some ask for it again when the upload is completed.
    """

    number: int
    size_bytes: int
    etag: str
    crc32c: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """A multipart upload under way."""

    key: str
    upload_id: str
    started: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a listing.

    Attributes:
        objects: In the order of the store (which is byte order everywhere only for fixed-width names on one level).
        prefixes: With a delimiter: the folders directly below, each ending in '/'.
        next_token: Pass it on for the next page; None on the last one.
        store_time: The store's clock when it answered.
    """

    objects: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...]
    next_token: str | None
    store_time: datetime


class Store(Protocol):
    """The verbs. Keys are relative to the archive's prefix, components separated by '/'.

    `fetch` and `head` also take the key of an object that somebody else put into the bucket: whole, with a '/' before it.
    """

    @property
    def url(self) -> str:
        """The archive's URL, for messages: without credentials."""
        ...

    @property
    def limits(self) -> StoreLimits:
        """Sizes and counts the store accepts."""
        ...

    def create(self, key: str, body: Body) -> ObjectInfo:
        """Create an object that was not there, checked against `body.crc32c` where the store can (`If-None-Match: *`).

        Raises:
            AlreadyExistsError: The key is taken, perhaps by our own earlier try.
            ChecksumRefusedError: The bytes sent were not those the checksum was made of.
        """
        ...

    def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
        """Read a small object whole.

        Raises:
            NotFoundError: No such object.
            IntegrityError: It is longer than `limit_bytes` (found before it is read).
        """
        ...

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        """Stream `length` bytes from `offset` into `sink`, in order.

        Every byte given to `sink` was received, but when this raises, `sink` may have seen any prefix of the range.
        `etag` holds several reads of one object together; None is for whoever got key and size from a record that says what
        the object is, and has never asked for its ETag.

        Raises:
            ConflictError: The object no longer has this `etag`.
            UnavailableError: The body broke off.
        """
        ...

    def head(self, key: str) -> ObjectInfo:
        """What is known about an object. Raises `NotFoundError`."""
        ...

    def list(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = 1000,
        start_after: str = "",
    ) -> Listing:
        """One page (up to `limit` keys, at most 1,000) of the objects whose key begins with `prefix`.

        Args:
            prefix: What the keys begin with.
            delimiter: "/" folds everything below the next level into `Listing.prefixes`; "" for none.
            token: `Listing.next_token` of the page before.
            limit: Most keys and prefixes together.
            start_after: Only keys after this one. For prefixes below which all keys have one depth and fixed-width names,
                because only there all stores agree on the order.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete an object; that it is not there is fine. Only probes and retention call this."""
        ...

    def start_upload(self, key: str) -> str:
        """Begin a multipart upload; its id."""
        ...

    def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
        """Send part `number` (from 1), checked against `body.crc32c` where the store can. Raises `UploadGoneError`."""
        ...

    def complete_upload(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        """Join parts 1 to N, all of them in order, into the object, if it is not there yet.

        Raises:
            AlreadyExistsError: The key is taken (not every store says so).
            UploadGoneError: It was completed or aborted before, perhaps by our own earlier try: look at the key.
        """
        ...

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Give an upload up and free its parts; that it is gone already is fine."""
        ...

    def list_uploads(self, prefix: str) -> tuple[UploadInfo, ...]:
        """All uploads under way whose key begins with `prefix`."""
        ...

    def list_parts(self, key: str, upload_id: str) -> tuple[PartInfo, ...]:
        """All parts the store holds, ascending, each number once (the latest). Raises `UploadGoneError`."""
        ...


_PAGE = 1000
# A server may skip what was deleted; that so many pages in a row hold nothing else is not to be believed.
_MOST_EMPTY_PAGES = 1000


def list_pages(
    store: Store, prefix: str, *, delimiter: str = "", start_after: str = "", first_limit: int = _PAGE
) -> Iterator[Listing]:
    """A listing page by page; the next one is only asked for when it is needed.

    Args:
        store: Whose.
        prefix: See `Store.list`, also for the next two.
        delimiter: Likewise.
        start_after: Likewise.
        first_limit: How much the first page holds, where that is nearly always enough.

    Raises:
        IntegrityError: If the server does not get on: it repeats itself, or sends one empty page after the other.
    """
    token: str | None = None
    seen: set[str] = set()
    before: list[str] = []
    empty = 0
    limit = first_limit
    while True:
        page = store.list(prefix, delimiter=delimiter, token=token, limit=limit, start_after=start_after)
        names = [*(info.key for info in page.objects), *page.prefixes]
        empty = 0 if names else empty + 1
        # By the order of names nothing is told: not every server sorts them by their bytes.
        if page.next_token in seen or (names and names == before) or empty > _MOST_EMPTY_PAGES:
            raise IntegrityError(
                f"the listing of {prefix or 'everything'} does not get on behind {max(before, default='its beginning')}",
                hint="The server answers with the same page again and again: this is for whoever runs it.",
            )
        yield page
        if page.next_token is None:
            return
        seen.add(page.next_token)
        before = names
        token, limit = page.next_token, _PAGE


def list_all(store: Store, prefix: str) -> tuple[ObjectInfo, ...]:
    """All pages of a listing. For prefixes whose size is bounded by one checkpoint."""
    return tuple(info for page in list_pages(store, prefix) for info in page.objects)


def list_folders(store: Store, prefix: str) -> Iterator[str]:
    """The folders directly below `prefix`, each whole and ending in '/'; a page is only asked for when it is needed."""
    for page in list_pages(store, prefix, delimiter="/"):
        yield from page.prefixes
