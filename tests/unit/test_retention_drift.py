"""What differs between a bucket, an archive and a policy, both ways; and what does not count."""

import pytest

from ckpt_archive.commit import fating
from ckpt_archive.commit.fating import Told
from ckpt_archive.retention.by_hand.holding import hold
from ckpt_archive.retention.plans.drift import DriftReport, What, find_drift
from ckpt_archive.retention.policy.values import TAG_KEY, Policy
from ckpt_archive.store.body import Body
from ckpt_archive.testing.retaining import POLICY, Archived, policy

FOREIGN: dict[str, object] = {
    "ID": "theirs",
    "Status": "Enabled",
    "Filter": {"Prefix": "elsewhere/"},
    "Expiration": {"Days": 3},
}


@pytest.fixture
def archived() -> Archived:
    """All is as the policy says."""
    found = Archived()
    found.commit_many(5)
    found.apply()
    return found


def drift(archived: Archived, chosen: Policy | None = None, *, tags: bool = False) -> DriftReport:
    return find_drift(archived.machine, archived.connection, chosen or policy(), tags=tags)


def whats(report: DriftReport) -> list[What]:
    return [item.what for item in report.differences]


def rules(archived: Archived) -> list[dict[str, object]]:
    assert archived.bucket is not None
    return [dict(raw) for raw in archived.bucket.read_rules()]


def write(archived: Archived, raws: list[dict[str, object]]) -> None:
    assert archived.bucket is not None
    archived.bucket.write_rules(raws)


def test_after_an_apply_there_is_none(archived: Archived) -> None:
    report = drift(archived, tags=True)
    assert (report.differences, report.foreign, report.limits, report.due) == ([], [], [], 0)
    assert (report.checkpoints, report.objects) == (5, 6)


def test_before_any_there_is_no_policy_and_no_rule() -> None:
    archived = Archived()
    archived.commit_many(3)
    report = drift(archived)
    assert set(whats(report)) == {What.POLICY, What.RULE_MISSING}
    assert report.due == 1
    assert "retention apply" in report.differences[0].text


def test_a_rule_that_is_about_other_folders_is_harmless(archived: Archived) -> None:
    write(archived, [*rules(archived), {**FOREIGN, "Filter": {"Prefix": "log/pending/"}}])
    assert drift(archived).differences == []


@pytest.mark.parametrize("what", ["missing", "changed", "broader", "extra", "disabled"])
def test_rules(archived: Archived, what: str) -> None:
    found = rules(archived)
    at = next(at for at, raw in enumerate(found) if "class:recent" in str(raw["ID"]))
    expected = What.RULE_CHANGED
    match what:
        case "missing":
            del found[at]
            expected = What.RULE_MISSING
        case "changed":
            found[at]["Expiration"] = {"Days": 20}
        case "broader":
            found[at]["Filter"] = {"Prefix": "data/"}
            expected = What.RULE_BROADER
        case "extra":
            found.append({**found[at], "ID": "ckpt-archive::class:gone.3d"})
            expected = What.RULE_EXTRA
        case _:
            found[at]["Status"] = "Disabled"
    write(archived, found)
    assert whats(drift(archived)) == [expected]


def test_rules_of_others_are_named_and_no_drift(archived: Archived) -> None:
    write(archived, [*rules(archived), FOREIGN])
    report = drift(archived)
    assert (report.differences, report.foreign) == ([], ["theirs"])


def test_a_rule_of_others_that_ends_our_data_is_told(archived: Archived) -> None:
    write(archived, [*rules(archived), {**FOREIGN, "Filter": {"Prefix": ""}}])
    (item,) = drift(archived).differences
    assert (item.what, item.text) == (
        What.PROBLEM,
        "the lifecycle rule 'theirs', which is not ours, may end data of this archive",
    )


def test_another_policy(archived: Archived) -> None:
    edited = policy(POLICY.replace('keep_for = "2d"', 'keep_for = "3d"'))
    report = drift(archived, edited)
    assert whats(report) == [
        What.POLICY,
        *[What.CHECKPOINT] * 3,
        What.RULE_MISSING,
        What.RULE_EXTRA,
    ]
    assert report.due == 0


def test_a_class_that_somebody_gave(archived: Archived) -> None:
    place = archived.committed()[-1]
    told = Told("", "", "why", archived.clock.now())
    fating.assign(archived.store, archived.connection.archive_id, place, 1, "explicit", told)
    (item,) = drift(archived).differences
    assert (item.what, item.subject) == (What.CHECKPOINT, str(place))
    assert (
        item.text
        == "it is announced as recent.2d, and should not be: it is to be announced as explicit.30d; assigned to explicit"
    )


def test_what_is_held_and_announced_all_the_same(archived: Archived) -> None:
    place = archived.committed()[-1]
    told = Told("", "", "why", archived.clock.now())
    fating.hold(archived.store, archived.connection.archive_id, place, "A", 1, told)
    (item,) = drift(archived).differences
    assert item.text == "it is announced as recent.2d, and should not be: held for A"


def test_what_will_be_done_anyway_is_none(archived: Archived) -> None:
    archived.commit_many(2, first=10)
    report = drift(archived)
    assert (report.differences, report.due) == ([], 2)


def test_tags_are_read_if_asked_for(archived: Archived) -> None:
    place = archived.committed()[-1]
    key = archived.keys(place)[0]
    assert archived.bucket is not None
    archived.bucket.write_tags(key, {})
    assert drift(archived).differences == []
    (item,) = drift(archived, tags=True).differences
    assert (item.what, item.subject, item.text) == (What.TAG, key, "it has the tag '', and 'recent.2d' was said")


def test_a_tag_that_landed_on_what_is_held_is_seen_and_goes_when_it_is_held_again(archived: Archived) -> None:
    place = archived.committed()[-1]
    assert archived.bucket is not None
    hold(archived.machine, archived.connection, place.run, place, "A", "why", "")
    assert drift(archived, tags=True).differences == []
    key = archived.keys(place)[0]
    archived.bucket.write_tags(key, {TAG_KEY: "recent.2d"})
    (item,) = drift(archived, tags=True).differences
    assert (item.subject, item.text) == (key, "it has the tag 'recent.2d', and is held for A")
    hold(archived.machine, archived.connection, place.run, place, "A", "why", "")
    assert drift(archived, tags=True).differences == []


def test_what_a_store_can_not_do_is_a_limit() -> None:
    moving = policy(
        POLICY.replace('keep_for = "14d"', 'keep_for = "1y"\ntransitions = [{after = "30d", to = "GLACIER_IR"}]')
    )
    archived = Archived(transitions=False)
    archived.commit_many(3)
    archived.apply(moving)
    report = drift(archived, moving)
    assert report.differences == []
    assert report.limits == ["the store refuses transitions: nothing is moved to another storage class"]
    without = Archived(with_bucket=False)
    without.commit_many(3)
    without.apply()
    assert "retention run" in drift(without).limits[0]
    assert drift(without).differences == []


def test_unreadable_manifests_are_told(archived: Archived) -> None:
    place = archived.committed()[-1]
    key = f"manifests/{place.run}/99999999/{999999999999 - place.step:012d}.json"
    data = archived.store.read(key, limit_bytes=1 << 20).data
    archived.store.delete(key)
    archived.store.create(key, Body.of(data.replace(b"run-a", b"run-b")))
    (item,) = drift(archived).differences
    assert (item.what, item.subject) == (What.PROBLEM, "run-a")
    assert "is damaged" in item.text
