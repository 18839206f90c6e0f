"""The rules that all records share: how they are spelled, what is refused, and what is not even written."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ckpt_archive import clock, record, strictjson
from ckpt_archive.errors import IntegrityError, InvalidInputError
from ckpt_archive.local.launches import begin_launch, load_launches
from ckpt_archive.local.quarantine import quarantined
from ckpt_archive.strictjson import Json
from ckpt_archive.testing.staged import RULE, local_machine, overwrite, prepared_run, save

MACHINE = local_machine()


def nested(depth: int) -> Json:
    value: Json = 1
    for _ in range(depth):
        value = [value]
    return value


def test_the_canonical_spelling() -> None:
    data = record.encode("thing", {"b": "ü\n", "a": [1.5, 10**20, None, True, {}]}, {"é": -1, "version": 7})
    assert (
        data
        == (
            '{"a":[1.5,100000000000000000000,null,true,{}],"b":"ü\\n","crc32c":"4c2aa855","format":"ckpt-archive/thing","version":1,"é":-1}\n'
        ).encode()
    )


def test_what_may_be_nested_is_what_can_be_read_back() -> None:
    deepest = record.encode("thing", {"x": nested(15)}, {})
    assert record.decode("thing", deepest, "it").items("x") == nested(15)
    with pytest.raises(InvalidInputError, match="nested deeper than 16"):
        record.encode("thing", {"x": nested(16)}, {})
    with pytest.raises(IntegrityError, match="nested deeper than 16"):
        record.decode("thing", deepest.replace(b"[1]", b"[[1]]"), "it")


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), "\ud800", {"\udfff": 1}, {1: 2}, object(), b"bytes", {"a", "b"}, (nested(16),)],
)
def test_what_no_reader_would_take_is_not_written(value: object) -> None:
    with pytest.raises(InvalidInputError, match="a thing can not be recorded"):
        record.encode("thing", {"x": [value]}, {})


def test_a_launch_that_could_not_be_read_back_is_refused_at_once(tmp_path: Path) -> None:
    # It would be set aside as damaged, under every number there is.
    run = prepared_run(MACHINE, str(tmp_path / "ssd"))
    with pytest.raises(InvalidInputError, match="can not be recorded"):
        begin_launch(run, launch_key="key", archive_url="", writers=1, labels={"deep": nested(20)})
    assert load_launches(run) == []
    assert list(quarantined(run)) == []


def test_digests_of_a_newer_release_are_left_alone(tmp_path: Path) -> None:
    run = prepared_run(MACHINE, str(tmp_path / "ssd"))
    share = save(run, 1, promotion=RULE).share
    newer = record.encode(
        "digests",
        {"files": [{"path": "model.bin", "size": 1, "sha256": "0" * 64, "encoding": "split-1"}], "objects": []},
        {},
    )
    overwrite(run, f"{share.folder}/digests.json", newer)
    assert share.digests() is None
    assert list(quarantined(run)) == []


def test_times_have_one_spelling() -> None:
    for moment in (datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC), datetime(1, 3, 1, tzinfo=UTC)):
        assert clock.from_text(clock.to_text(moment)) == moment
    for text in (
        "2026-3-1T12:00:00.000005Z", "2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00.000005+00:00", "2026-03-01T12:00:00Z",
        "٢٠٢٦-03-01T12:00:00.000005Z", "999-03-01T12:00:00.0000005Z", "2026-03-01T12:00:00.000005Z ", "",
        "2026-02-30T12:00:00.000005Z", "2026-03-01t12:00:00.000005z", "2026-03-01T12:00:60.000005Z",
    ):  # fmt: skip
        with pytest.raises(ValueError):  # noqa: PT011 - some of the texts are Python's own
            clock.from_text(text)


def test_a_message_does_not_quote_megabytes() -> None:
    data = b'{"format":"ckpt-archive/thing","version":1,"at":"' + b"x" * 10**6 + b'"}'
    with pytest.raises(IntegrityError) as refused:
        record.decode("thing", data, "it").time("at")
    assert len(str(refused.value)) < 10_000


def test_the_second_of_two_names_is_soon_found() -> None:
    names = b",".join(b'"%d":0' % number for number in range(200_000))
    with pytest.raises(IntegrityError, match="duplicate key '199999'"):
        strictjson.decode(b"{" + names + b',"199999":0}', "it")
