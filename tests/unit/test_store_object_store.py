"""Where another library is sent for an archive."""

import pytest

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.store.object_store import location


@pytest.mark.parametrize("url", ["file:///a/b c", "file:///a/%zz/ü", "file:///a/50%", "file:///a/*[x]'\""])
def test_most_paths_mean_the_same_to_everybody(url: str) -> None:
    assert location(url).url == url


@pytest.mark.parametrize("url", ["file:///a/b%20c", "s3://bucket/b%20c", "file:///a/b\\c", "s3://bucket/b\\c"])
def test_a_path_that_the_library_takes_for_another_one_is_refused_before_tables_come_to_stand_there(url: str) -> None:
    with pytest.raises(InvalidInputError, match="can not have an index"):
        location(url)
