"""The model of a lifecycle engine against the sentences of the Amazon S3 User Guide, and against a second, slower model."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.retention.policy.values import midnight_after
from ckpt_archive.testing.lifecycle_configuration import (
    WATERFALL,
    RefusedRuleError,
    Rule,
    RuleFilter,
    due_after,
    parse_rules,
)
from ckpt_archive.testing.lifecycle_engine import SMALLEST_MOVED_BYTES, Act, Begun, Due, Version, due_now

DAY = timedelta(days=1)
CREATED = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
LARGE = SMALLEST_MOVED_BYTES


def raw(**said: Any) -> dict[str, Any]:
    """A rule as S3's API has it."""
    return {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}, **said}


def due(rule: Mapping[str, Any], version: Version, now: datetime, *, versioned: bool = False) -> list[Due]:
    """What a rule does to an object."""
    return list(due_now(parse_rules([rule]), [version], [], now, versioned=versioned))


def test_days_are_added_and_rounded_up_to_the_next_midnight() -> None:
    """The User Guide's example: created on 15 January at 10:30 UTC, 3 days, due on 19 January at 00:00 UTC."""
    created = datetime(2014, 1, 15, 10, 30, tzinfo=UTC)
    rule, version = raw(Expiration={"Days": 3}), Version("key", "", created, 1, {})
    at = datetime(2014, 1, 19, tzinfo=UTC)
    assert due(rule, version, at - timedelta(microseconds=1)) == []
    assert [(item.act, item.since) for item in due(rule, version, at)] == [(Act.EXPIRE, at)]


def test_a_creation_at_midnight_is_not_rounded() -> None:
    assert due_after(datetime(2026, 3, 1, tzinfo=UTC), 1) == datetime(2026, 3, 2, tzinfo=UTC)


def test_a_date_is_the_same_for_all_objects_and_stays_in_force() -> None:
    rule = raw(Expiration={"Date": "2026-03-05T00:00:00Z"})
    for created in (CREATED, CREATED + 30 * DAY):
        version = Version("key", "", created, 1, {})
        assert due(rule, version, datetime(2026, 3, 4, 23, 59, tzinfo=UTC)) == []
        assert [item.act for item in due(rule, version, datetime(2026, 4, 30, tzinfo=UTC))] == [Act.EXPIRE]


@pytest.mark.parametrize(
    ("filter_", "key", "tags", "size", "matches"),
    [
        ({"Prefix": "data/"}, "data/x", {}, 1, True),
        ({"Prefix": "data/"}, "log/x", {}, 1, False),
        ({"Tag": {"Key": "class", "Value": "a"}}, "x", {"class": "a", "other": "b"}, 1, True),
        ({"Tag": {"Key": "class", "Value": "a"}}, "x", {"class": "ab"}, 1, False),
        ({"Tag": {"Key": "class", "Value": "a"}}, "x", {}, 1, False),
        ({"And": {"Prefix": "d", "Tags": [{"Key": "class", "Value": "a"}]}}, "dx", {"class": "a"}, 1, True),
        ({"And": {"Prefix": "d", "Tags": [{"Key": "class", "Value": "a"}]}}, "dx", {}, 1, False),
        ({"And": {"Prefix": "d", "Tags": [{"Key": "class", "Value": "a"}]}}, "x", {"class": "a"}, 1, False),
        ({"And": {"Prefix": "", "ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 9}}, "x", {}, 5, False),
        ({"And": {"Prefix": "", "ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 9}}, "x", {}, 6, True),
        ({"And": {"Prefix": "", "ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 9}}, "x", {}, 9, False),
        ({"ObjectSizeGreaterThan": 5}, "x", {}, 6, True),
        ({}, "x", {}, 0, True),
    ],
)
def test_filters(filter_: Mapping[str, Any], key: str, tags: Mapping[str, str], size: int, *, matches: bool) -> None:
    rule = raw(Filter=filter_, Expiration={"Days": 1})
    assert bool(due(rule, Version(key, "", CREATED, size, tags), CREATED + 3 * DAY)) is matches


def test_a_disabled_rule_is_known_as_such() -> None:
    (rule,) = parse_rules([raw(Status="Disabled", Expiration={"Days": 1})])
    assert not rule.enabled


def test_of_two_expirations_the_shorter_one_counts() -> None:
    rules = parse_rules([raw(Expiration={"Days": 9}), raw(ID="b", Expiration={"Days": 2})])
    version = Version("key", "", CREATED, 1, {})
    (item,) = due_now(rules, [version], [], CREATED + 3 * DAY, versioned=False)
    assert item.rule_id == "b"
    assert not list(due_now(rules, [version], [], CREATED + DAY, versioned=False))


def test_deletion_comes_before_transition() -> None:
    rules = parse_rules(
        [raw(Expiration={"Days": 3}), raw(ID="b", Transitions=[{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}])]
    )
    version = Version("key", "", CREATED, LARGE, {})
    assert [item.act for item in due_now(rules, [version], [], CREATED + 2 * DAY, versioned=False)] == [Act.MOVE]
    assert [item.act for item in due_now(rules, [version], [], CREATED + 4 * DAY, versioned=False)] == [Act.EXPIRE]
    assert [item.act for item in due_now(rules, [version], [], CREATED + 4 * DAY, versioned=True)] == [Act.MOVE]


def test_of_two_transitions_the_colder_one_is_taken() -> None:
    moves = [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 40, "StorageClass": "GLACIER"}]
    rule, version = raw(Transitions=moves), Version("key", "", CREATED, LARGE, {})
    assert [item.storage_class for item in due(rule, version, CREATED + 32 * DAY)] == ["STANDARD_IA"]
    assert [item.storage_class for item in due(rule, version, CREATED + 50 * DAY)] == ["GLACIER"]


@pytest.mark.parametrize("at", WATERFALL)
def test_nothing_moves_to_a_warmer_class(at: str) -> None:
    rule = raw(Transitions=[{"Days": 1, "StorageClass": "GLACIER_IR"}])
    moved = due(rule, Version("key", "", CREATED, LARGE, {}, at), CREATED + 9 * DAY)
    assert bool(moved) is (WATERFALL.index(at) < WATERFALL.index("GLACIER_IR"))


def test_small_objects_are_not_moved_unless_the_filter_speaks_of_sizes() -> None:
    moves = [{"Days": 1, "StorageClass": "GLACIER"}]
    small = Version("key", "", CREATED, LARGE - 1, {})
    assert due(raw(Transitions=moves), small, CREATED + 9 * DAY) == []
    assert due(raw(Filter={"ObjectSizeGreaterThan": 1}, Transitions=moves), small, CREATED + 9 * DAY)


def test_what_is_locked_is_not_removed_and_can_be_moved() -> None:
    locked = Version("key", "", CREATED, LARGE, {}, is_locked=True)
    assert due(raw(Expiration={"Days": 1}), locked, CREATED + 9 * DAY) == []
    assert due(raw(Transitions=[{"Days": 1, "StorageClass": "GLACIER"}]), locked, CREATED + 9 * DAY)
    old = Version("key", "1", CREATED, 1, {}, is_latest=False, noncurrent_since=CREATED, is_locked=True)
    assert due(raw(NoncurrentVersionExpiration={"NoncurrentDays": 1}), old, CREATED + 9 * DAY, versioned=True) == []


def test_a_delete_marker_is_put_on_top_of_what_is_locked() -> None:
    """So a held checkpoint is safe, but not readable under its key: holding it must take its tag away as well."""
    locked = Version("key", "1", CREATED, 1, {}, is_locked=True)
    assert [item.act for item in due(raw(Expiration={"Days": 1}), locked, CREATED + 9 * DAY, versioned=True)] == [
        Act.MARK
    ]


def test_noncurrent_versions_count_from_their_replacement() -> None:
    rule = raw(NoncurrentVersionExpiration={"NoncurrentDays": 2, "NewerNoncurrentVersions": 1})
    replaced = CREATED + 10 * DAY
    version = Version("key", "1", CREATED, 1, {}, is_latest=False, noncurrent_since=replaced, newer_noncurrent=1)
    at = datetime(2026, 3, 14, tzinfo=UTC)
    assert due(rule, version, at - timedelta(seconds=1), versioned=True) == []
    assert [item.act for item in due(rule, version, at, versioned=True)] == [Act.REMOVE_VERSION]
    newest = Version("key", "1", CREATED, 1, {}, is_latest=False, noncurrent_since=replaced)
    assert due(rule, newest, at + 99 * DAY, versioned=True) == []


@pytest.mark.parametrize("alone", [True, False])
def test_a_delete_marker_goes_when_nothing_is_below_it(*, alone: bool) -> None:
    marker = Version("key", "2", CREATED, 0, {}, is_marker=True, is_alone=alone)
    found = due(raw(Expiration={"ExpiredObjectDeleteMarker": True}), marker, CREATED + DAY, versioned=True)
    assert [item.act for item in found] == [Act.REMOVE_MARKER] * alone
    assert due(raw(Expiration={"Days": 1}), marker, CREATED + 9 * DAY, versioned=True) == []


def test_uploads_are_aborted_by_prefix() -> None:
    rules = parse_rules([raw(Filter={"Prefix": "data/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7})])
    uploads = [Begun("data/x", "1", CREATED), Begun("log/x", "2", CREATED)]
    at = datetime(2026, 3, 9, tzinfo=UTC)
    assert not list(due_now(rules, [], uploads, at - timedelta(seconds=1), versioned=False))
    assert [(item.act, item.key) for item in due_now(rules, [], uploads, at, versioned=False)] == [
        (Act.ABORT, "data/x")
    ]


TAGS = {"Tags": [{"Key": "class", "Value": "a"}], "Prefix": "data/"}

REFUSED = {
    "Expiration needs exactly one": raw(Expiration={"Days": 1, "Date": "2026-03-05T00:00:00Z"}),
    "exactly one": raw(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True}),
    "Days is less than 1": raw(Expiration={"Days": 0}),
    "not midnight": raw(Expiration={"Date": "2026-03-05T01:00:00Z"}),
    "does nothing": raw(),
    "either Filter or Prefix": {"ID": "a", "Status": "Enabled", "Expiration": {"Days": 1}},
    "Filter needs one member": raw(Filter={"Prefix": "", "ObjectSizeLessThan": 1}, Expiration={"Days": 1}),
    "And needs at least two": raw(Filter={"And": {"Prefix": "x"}}, Expiration={"Days": 1}),
    "neither tags nor sizes": raw(Filter={"And": TAGS}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}),
    "markers have no tags": raw(Filter={"And": TAGS}, Expiration={"ExpiredObjectDeleteMarker": True}),
    "needs NoncurrentDays": raw(NoncurrentVersionExpiration={"NewerNoncurrentVersions": 1}),
    "larger than 100": raw(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}),
    "before, or when": raw(Expiration={"Days": 5}, Transitions=[{"Days": 5, "StorageClass": "GLACIER"}]),
    "colder class to a warmer": raw(
        Transitions=[{"Days": 5, "StorageClass": "GLACIER"}, {"Days": 40, "StorageClass": "STANDARD_IA"}]
    ),
    "needs 30 days": raw(Transitions=[{"Days": 5, "StorageClass": "STANDARD_IA"}]),
    "no class to move to": raw(Transitions=[{"Days": 5, "StorageClass": "STANDARD"}]),
    "nobody knows what Surprise": raw(Surprise=1, Expiration={"Days": 1}),
    "status is 'enabled'": raw(Status="enabled", Expiration={"Days": 1}),
    "longer than 255": raw(ID="x" * 256, Expiration={"Days": 1}),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_s3_would_refuse_is_refused(words: str) -> None:
    with pytest.raises(RefusedRuleError, match=words):
        parse_rules([REFUSED[words]])


def test_names_are_used_once_and_there_is_a_limit() -> None:
    with pytest.raises(RefusedRuleError, match="same ID"):
        parse_rules([raw(Expiration={"Days": 1})] * 2)
    with pytest.raises(RefusedRuleError, match="1001 rules"):
        parse_rules([raw(ID=str(number), Expiration={"Days": 1}) for number in range(1001)])


# --- a second model, which asks each rule on each day ---------------------------------------------------------------------

MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
RULES = st.builds(
    Rule,
    rule_id=st.just(""),
    enabled=st.just(True),
    filter=st.builds(
        RuleFilter,
        prefix=st.sampled_from(["", "data/", "data/a"]),
        tags=st.sampled_from([{}, {"class": "a"}, {"class": "b"}]),
    ),
    expire_days=st.none() | st.integers(1, 40),
)
VERSIONS = st.builds(
    Version,
    key=st.sampled_from(["data/a/1", "data/b/1", "log/1"]),
    version_id=st.just(""),
    created_at=MOMENTS,
    size_bytes=st.just(1),
    tags=st.sampled_from([{}, {"class": "a"}, {"class": "b"}]),
)


@given(st.lists(RULES, max_size=4), VERSIONS, st.integers(0, 120), st.integers(0, 86_399))
def test_an_object_expires_on_the_first_midnight_on_which_it_is_old_enough(
    rules: list[Rule], version: Version, days: int, seconds: int
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + days * DAY + timedelta(seconds=seconds)
    midnights = [datetime(2026, 1, 1, tzinfo=UTC) + number * DAY for number in range(days + 1)]
    old_enough = any(
        midnight - version.created_at >= rule.expire_days * DAY
        for rule in rules
        for midnight in midnights
        if rule.expire_days is not None
        and version.key.startswith(rule.filter.prefix)
        and (not rule.filter.tags or version.tags == rule.filter.tags)
    )
    assert bool(list(due_now(rules, [version], [], now, versioned=False))) is old_enough


@given(MOMENTS, st.integers(0, 4000))
def test_the_policy_rounds_as_the_engine_does(created: datetime, days: int) -> None:
    """The product announces by one function, and the engine deletes by another: they agree on every microsecond."""
    assert midnight_after(created + days * DAY) == due_after(created, days)
