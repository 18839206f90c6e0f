import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.digest import crc32c
from ckpt_archive.disk.protocol import FileStat, Kind
from ckpt_archive.errors import IntegrityError
from ckpt_archive.share import Share
from ckpt_archive.store.protocol import StoreLimits
from ckpt_archive.strictjson import Fields
from ckpt_archive.transfer.digesting import digest_share
from ckpt_archive.transfer.plan import plan_objects
from ckpt_archive.transfer.settings import TransferSettings

LIMITS = StoreLimits(min_part_size_bytes=1, max_part_size_bytes=1_000, max_parts=1_000)


class BytesFile:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def stat(self) -> FileStat:
        return FileStat(Kind.FILE, len(self.data), 0, 1, 1)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        chunk = self.data[offset : offset + len(buffer)]
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        pass

    def __enter__(self) -> "BytesFile":
        return self

    def __exit__(self, *exception: object) -> None:
        pass


# Few letters and lengths, so that equal files and equal objects are common.
trees = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.sampled_from([b"", b"x", b"xyz", b"q" * 20, b"r" * 33, b"x" * 60]),
    max_size=8,
)  # fmt: skip
settings = st.builds(
    TransferSettings,
    part_size_bytes=st.integers(1, 40),
    pack_below_bytes=st.integers(0, 40),
    buffer_size_bytes=st.integers(1, 50),
)


def digest(tree: dict[str, bytes], chosen: TransferSettings) -> Share:
    files = [(path, len(data)) for path, data in tree.items()]
    return digest_share(plan_objects(files, chosen, LIMITS), lambda path: BytesFile(tree[path]), files, chosen)


def crcs(data: bytes, run: int) -> tuple[int, ...]:
    return tuple(crc32c(data[start : start + run]) for start in range(0, len(data), run))


@given(trees, settings)
def test_a_share_has_the_digests_that_hashlib_finds(tree: dict[str, bytes], chosen: TransferSettings) -> None:
    share = digest(tree, chosen)
    assert [file.path for file in share.files] == sorted(tree)
    held: dict[int, bytearray] = {index: bytearray(item.size_bytes) for index, item in enumerate(share.objects)}
    for file in share.files:
        data = tree[file.path]
        assert file.sha256 == hashlib.sha256(data).hexdigest()
        assert file.size_bytes == len(data)
        if file.object_index is None:
            assert not data
        else:
            assert file.crc32c == crcs(data, share.objects[file.object_index].part_size_bytes)
            held[file.object_index][file.offset : file.offset + len(data)] = data
    for index, item in enumerate(share.objects):
        assert item.sha256 == hashlib.sha256(held[index]).hexdigest()
        assert item.part_crc32c == crcs(bytes(held[index]), item.part_size_bytes)
    assert len({item.sha256 for item in share.objects}) == len(share.objects)
    assert Share.from_json(Fields(share.to_json(), "share")) == share


def test_two_files_of_equal_content_become_one_object() -> None:
    share = digest({"a": b"q" * 20, "b": b"q" * 20}, TransferSettings(part_size_bytes=8, pack_below_bytes=0))
    assert len(share.objects) == 1
    assert [file.object_index for file in share.files] == [0, 0]


@pytest.mark.parametrize(("planned", "problem"), [(19, "longer than the 19"), (21, "has 20 bytes, not the 21")])
def test_what_if_a_file_changed_its_size_after_it_was_sealed(planned: int, problem: str) -> None:
    chosen = TransferSettings(buffer_size_bytes=7)
    files = [("model", planned)]
    with pytest.raises(IntegrityError, match=f"'model' has changed.*{problem}"):
        digest_share(plan_objects(files, chosen, LIMITS), lambda _: BytesFile(b"q" * 20), files, chosen)


def test_what_if_an_empty_file_has_grown() -> None:
    with pytest.raises(IntegrityError, match="'log' has changed"):
        digest_share((), lambda _: BytesFile(b"q"), [("log", 0)], TransferSettings())


def test_progress_counts_every_byte_once() -> None:
    tree = {"a": b"1" * 50, "b": b"2" * 3, "c": b"3" * 4}
    chosen = TransferSettings(part_size_bytes=16, pack_below_bytes=10, buffer_size_bytes=8)
    files = [(path, len(data)) for path, data in tree.items()]
    seen: list[int] = []
    plans = plan_objects(files, chosen, LIMITS)
    digest_share(plans, lambda path: BytesFile(tree[path]), files, chosen, on_bytes=seen.append)
    assert sum(seen) == 57
