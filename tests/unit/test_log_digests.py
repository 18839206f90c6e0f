"""A set that knows its texts again and takes few bytes for each."""

from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.log.digests import DigestSet


@given(st.lists(st.text(max_size=3), max_size=300), st.lists(st.text(max_size=3), max_size=50))
def test_it_knows_what_it_was_given_and_nothing_else(given_texts: list[str], others: list[str]) -> None:
    found = DigestSet(given_texts)
    assert len(found) == len(set(given_texts))
    for text in [*given_texts, *others]:
        assert (text in found) == (text in set(given_texts))


def test_half_of_a_surrogate_pair_is_a_text_too() -> None:
    assert "\ud800" in DigestSet(["\ud800"])


def test_many_texts_take_about_twenty_bytes_each() -> None:
    count = 50_000
    found = DigestSet(f"manifests/run/{number}" for number in range(count))
    assert len(found) == count
    # What is packed takes sixteen bytes, what is not yet about a hundred.
    fresh = sum(map(len, found._fresh))
    assert fresh < count / 6
    assert sum(map(len, found._sorted)) == 16 * (count - fresh)
