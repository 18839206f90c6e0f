"""What the checks of the store conformance suite share: the known deviations, fixtures, and small bodies."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ckpt_archive.errors import (
    CkptArchiveError,
    IntegrityError,
)
from ckpt_archive.executor import Executor, ThreadExecutor
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import ObjectInfo, Store

KNOWN_DEVIATIONS: dict[tuple[str, str], str] = {
    ("moto", "test_create_refuses_bytes_that_are_not_those_of_the_checksum"): "moto checks no checksum.",
    ("moto", "test_a_part_is_refused_when_its_bytes_are_not_those_of_the_checksum"): "moto checks no checksum.",
    ("moto", "test_a_part_of_an_upload_that_was_given_up"): "moto answers 500, which leaves open what happened.",
    ("moto", "test_complete_of_an_upload_that_was_given_up"): "moto answers 500, which leaves open what happened.",
    ("seaweedfs", "test_a_folder_without_objects_is_not_listed"): "SeaweedFS removes empty folders some time later.",
    ("seaweedfs", "test_list_is_in_byte_order_at_mixed_depths"): "SeaweedFS sorts '/' before every other character.",
}
"""(server, check): what it does instead. `docs/servers.md` says what the archive does about each."""


class FailingSource:
    """A local file that can not be read. Its error must come out as it is: it is not the store's."""

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fail."""
        raise IntegrityError("the file was changed after it was sealed")


class ShortSource:
    """A local file that became shorter."""

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Nothing is left."""
        return 0


class SinkFailedError(Exception):
    """What a caller's own sink may raise."""


def put(store: Store, *keys: str) -> None:
    """Create objects that hold their own key."""
    for key in keys:
        store.create(key, Body.of(key.encode()))


def get(store: Store, key: str) -> bytes:
    """An object's bytes, by HEAD and a ranged GET, as a restore reads them."""
    info = store.head(key)
    return fetched(store, info, 0, info.size_bytes)


def fetched(store: Store, info: ObjectInfo, offset: int, length: int) -> bytes:
    """A range of an object."""
    data = bytearray()
    store.fetch(info.key, offset=offset, length=length, etag=info.etag, sink=data.extend)
    return bytes(data)


def pattern(size_bytes: int, seed: int = 1) -> bytes:
    """Bytes in which no two places look alike."""
    block = bytes((seed * 31 + index * 7 + index // 251) % 256 for index in range(4093))
    return (block * (size_bytes // len(block) + 1))[:size_bytes]


def pages(store: Store, prefix: str, *, limit: int, delimiter: str = "") -> list[str]:
    """All names of a listing, fetched `limit` at a time."""
    names: list[str] = []
    token: str | None = None
    for _ in range(100):
        page = store.list(prefix, delimiter=delimiter, token=token, limit=limit)
        assert len(page.objects) + len(page.prefixes) <= limit
        names += [*(info.key for info in page.objects), *page.prefixes]
        token = page.next_token
        if token is None:
            return names
    pytest.fail("the listing does not come to an end")


class Fixtures:
    """Of every group of checks."""

    @pytest.fixture
    def server(self) -> str:
        """The name of the server behind the store, as `KNOWN_DEVIATIONS` spells it."""
        return ""

    @pytest.fixture
    def executor(self) -> Executor:
        """How calls are made at the same time."""
        return ThreadExecutor()

    @pytest.fixture(autouse=True)
    def _known_deviation(self, request: pytest.FixtureRequest, server: str) -> None:
        reason = KNOWN_DEVIATIONS.get((server, request.function.__name__))
        if reason is not None:
            failures = (AssertionError, pytest.fail.Exception, CkptArchiveError)
            request.node.add_marker(pytest.mark.xfail(strict=True, reason=reason, raises=failures))


@contextmanager
def may_raise(*kinds: type[CkptArchiveError]) -> Iterator[None]:
    """Let an error of these kinds pass, or none."""
    try:
        yield
    except kinds:
        return
