"""A folder and a sorted dictionary list the same keys, page by page, whatever the keys are."""

import tempfile

from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import ConflictError
from ckpt_archive.store.body import Body
from ckpt_archive.store.file import FileStore
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import Store

# Neighbours of '/' in byte order, one character above the ASCII range, and one above the basic plane.
NAMES = st.text("a-./0é\U0001f40d", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
KEYS = st.lists(NAMES.filter(lambda name: "/" not in name), min_size=1, max_size=3).map("/".join)


def walked(store: Store, prefix: str, delimiter: str, limit: int, start_after: str) -> list[tuple[object, ...]]:
    """Every page: keys, folders, and whether there is another one."""
    found: list[tuple[object, ...]] = []
    token: str | None = None
    while True:
        page = store.list(prefix, delimiter=delimiter, token=token, limit=limit, start_after=start_after)
        token = page.next_token
        found.append((tuple(info.key for info in page.objects), page.prefixes, token is not None))
        if token is None:
            return found


@given(
    st.lists(KEYS, max_size=12),
    st.lists(st.tuples(KEYS | st.just(""), st.sampled_from(["", "/", "a"]), st.integers(1, 5), KEYS | st.just(""))),
)
def test_a_folder_lists_what_a_sorted_dictionary_lists(
    keys: list[str], questions: list[tuple[str, str, int, str]]
) -> None:
    memory = MemoryStore()
    with tempfile.TemporaryDirectory() as root:
        file = FileStore(PosixFileSystem(), root)
        file.prepare()
        for key in dict.fromkeys(keys):
            try:
                file.create(key, Body.of(b""))
            except ConflictError:
                continue  # a name can not be both a file and a folder
            memory.create(key, Body.of(b""))
        for start, end, limit, after in [("", "", 2, ""), *questions]:
            for delimiter in ("", "/"):
                prefix = start + end
                assert walked(file, prefix, delimiter, limit, after) == walked(memory, prefix, delimiter, limit, after)


@given(st.lists(KEYS, unique=True, max_size=20), KEYS | st.just(""), st.integers(1, 5))
def test_pages_hold_every_key_once_and_in_byte_order(keys: list[str], prefix: str, limit: int) -> None:
    store = MemoryStore()
    for key in keys:
        store.create(key, Body.of(b""))
    listed = [key for objects, _, _ in walked(store, prefix, "", limit, "") for key in objects]  # type: ignore[attr-defined]
    assert listed == sorted((key for key in keys if key.startswith(prefix)), key=lambda key: key.encode())
