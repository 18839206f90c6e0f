"""A flipped bit in the log, or in what it is made from, is an error or a finding; one in the index is found by the check."""

from ckpt_archive.testing.fuzz import index_flips, log_flips
from ckpt_archive.testing.fuzz.everything import work_folder

RECORDS = ("attempts", "decisions", "events", "manifests", "receipts")


def test_no_flipped_bit_of_a_record_becomes_a_wrong_row() -> None:
    result = log_flips.run(200)
    assert result.findings == []
    assert result.outcomes.total() == 200
    assert {kind for kind, _ in result.outcomes} == {
        *(f"{name}, {when}" for name in RECORDS for when in ("new", "sealed")),
        "pending, new",
        "seq, sealed",
    }


def test_the_check_finds_what_a_flipped_bit_of_the_index_does_to_questions_and_a_rebuild_mends_it() -> None:
    with work_folder() as folder:
        result = index_flips.run(folder, 60)
    assert result.findings == []
    assert {kind for kind, _, _ in result.outcomes} == {"Parquet", "Delta log"}
