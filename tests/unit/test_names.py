"""Which files can stand in one folder together."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.names import check_file_tree


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["a", "b", "a"], "the file name 'a' occurs twice"),
        (["a/b", "a/B"], "'a/b' and 'a/B' differ only in case|'a/B' and 'a/b' differ only in case"),
        (["A/x", "b", "a/y"], "'A' and 'a' differ only in case|'a' and 'A' differ only in case"),
        (["straße/x", "STRASSE/y"], "differ only in case"),
        (["a", "a-b", "a.b", "a/b"], "'a' is both a file and a folder"),
        (["x/a/b", "x/a", "x/a-b"], "'x/a' is both a file and a folder"),
        (["a", "A/b"], "differ only in case"),
        (["a", "../b"], "not allowed"),
    ],
)
def test_files_that_can_not_stand_together(paths: Sequence[str], problem: str) -> None:
    for order in (paths, paths[::-1]):
        with pytest.raises(InvalidInputError, match=problem):
            check_file_tree(order)


def test_files_that_can() -> None:
    check_file_tree(["a", "a-b", "a.b", "b/a", "b/a-b", "b/c/a", "ä", "b-/a"])
    check_file_tree([])


names = st.lists(st.sampled_from(["a", "A", "b", "a-", "a.", "ß", "ss", "é"]), min_size=1, max_size=3).map("/".join)


@given(st.lists(names, max_size=6))
def test_it_agrees_with_looking_at_every_pair(paths: list[str]) -> None:
    try:
        check_file_tree(paths)
    except InvalidInputError:
        assert not can_stand_together(paths)
    else:
        assert can_stand_together(paths)


def can_stand_together(paths: list[str]) -> bool:
    """No name, of a file or of a folder, has two spellings; and none is a file and something else."""
    folders = {path[:end] for path in paths for end in range(len(path)) if path[end] == "/"}
    everything = folders | set(paths)
    return (
        len(set(paths)) == len(paths)
        and not folders & set(paths)
        and len({name.casefold() for name in everything}) == len(everything)
    )
