"""Rules of a policy, rules of a bucket, and how they differ, whatever words a server has for them."""

import copy
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.policy.file import MAX_RULES, OWN_RULES, PRESETS, load, preset
from ckpt_archive.retention.policy.storage_classes import STORAGE_CLASSES
from ckpt_archive.retention.policy.values import TAG_KEY, RetentionClass, Transition
from ckpt_archive.retention.rules.raw_rules import conditions, endangers, is_broader, lost_on_the_way
from ckpt_archive.retention.rules.rules import (
    LifecycleRule,
    difference,
    ours,
    rule_id,
    rules_of,
    terms_of,
    without_transitions,
)
from ckpt_archive.strictjson import Json

PREFIX = "team/ckpt/"

FOREIGN: Json = {
    "ID": "logs",
    "Status": "Enabled",
    "Filter": {"And": {"Prefix": "logs/", "ObjectSizeGreaterThan": 500, "Tags": [{"Key": "a", "Value": "b"}]}},
    "Expiration": {"Days": 30},
}

# How servers give rules back: RGW, moto, and what is allowed anyway.


def as_it_was(rule: Json) -> Json:
    return rule


def prefix_beside_the_filter(rule: Json) -> Json:
    given_filter = rule.pop("Filter")
    if "Prefix" in given_filter and len(given_filter) == 1:
        rule["Prefix"] = given_filter["Prefix"]
    else:
        rule["Filter"] = given_filter
    return rule


def one_tag_not_joined(rule: Json) -> Json:
    joined = rule.get("Filter", {}).get("And")
    if joined and len(joined.get("Tags", [])) == 1 and set(joined) == {"Prefix", "Tags"}:
        rule["Filter"] = {"Prefix": joined["Prefix"], "Tag": joined["Tags"][0]}
    return rule


def tag_in_filter_and_prefix_outside(rule: Json) -> Json:
    joined = rule.get("Filter", {}).get("And")
    if joined and len(joined.get("Tags", [])) == 1 and set(joined) == {"Prefix", "Tags"}:
        rule["Filter"] = {"Tag": joined["Tags"][0]}
        rule["Prefix"] = joined["Prefix"]
    return rule


def transitions_in_another_order(rule: Json) -> Json:
    if "Transitions" in rule:
        rule["Transitions"] = rule["Transitions"][::-1]
    return rule


def members_in_another_order(rule: Json) -> Json:
    return dict(reversed(rule.items()))


def empty_members(rule: Json) -> Json:
    rule.setdefault("Transitions", [])
    rule.setdefault("NoncurrentVersionTransitions", [])
    if "Days" in rule.get("Expiration", {}):
        rule["Expiration"]["ExpiredObjectDeleteMarker"] = False
    return rule


SPELLINGS = [
    as_it_was,
    prefix_beside_the_filter,
    one_tag_not_joined,
    tag_in_filter_and_prefix_outside,
    transitions_in_another_order,
    members_in_another_order,
    empty_members,
]


def spelled(rule: LifecycleRule, spell: Callable[[Json], Json]) -> Json:
    return spell(copy.deepcopy(rule.to_json()))


def preset_rules(prefix: str = PREFIX) -> Iterator[LifecycleRule]:
    for name in PRESETS:
        yield from rules_of(preset(name), prefix)


def test_the_rules_of_the_default_preset() -> None:
    rules = rules_of(preset("default"), PREFIX)
    assert [rule.id for rule in rules] == [
        f"ckpt-archive:{PREFIX}:{name}"
        for name in (
            "abort",
            "class:daily.366d",
            "class:hourly.14d",
            "class:recent.2d",
            "class:trash.7d",
            "index-versions",
            "markers",
        )
    ]
    assert [*[rule.to_json() for rule in rules][:2], rules[5].to_json(), rules[6].to_json()] == [
        {
            "ID": "ckpt-archive:team/ckpt/:abort",
            "Status": "Enabled",
            "Filter": {"Prefix": "team/ckpt/"},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        },
        {
            "ID": "ckpt-archive:team/ckpt/:class:daily.366d",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "team/ckpt/data/", "Tags": [{"Key": TAG_KEY, "Value": "daily.366d"}]}},
            "Expiration": {"Days": 366},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        },
        {
            "ID": "ckpt-archive:team/ckpt/:index-versions",
            "Status": "Enabled",
            "Filter": {"Prefix": "team/ckpt/index/"},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
        },
        {
            "ID": "ckpt-archive:team/ckpt/:markers",
            "Status": "Enabled",
            "Filter": {"Prefix": "team/ckpt/log/pending/"},
            "Expiration": {"Days": 90},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        },
    ]


def test_a_rule_that_ends_anything_is_about_one_tag_or_about_markers() -> None:
    for rule in preset_rules():
        if rule.expire_days is not None and not rule.prefix.endswith("log/pending/"):
            assert rule.tag
            assert rule.prefix == f"{PREFIX}data/"


def test_what_is_kept_for_ever_has_no_rule_that_ends_or_removes_anything() -> None:
    kept = [rule for rule in preset_rules() if ".forever" in rule.id]
    assert [rule.transitions for rule in kept] == [(Transition(30, "DEEP_ARCHIVE"),)]
    assert kept[0].expire_days is kept[0].noncurrent_days is None


def test_what_was_tagged_under_an_earlier_policy_keeps_its_rule() -> None:
    policy = load('[classes.daily]\nkeep_for = "30d"\n', "new")
    tags = ["daily.366d.GLACIER_IR-30d", "daily.30d", "trash.7d", "weekly.forever", "of-somebody-else", "x.1d.NONE-3d"]
    rules = rules_of(policy, PREFIX, tags)
    assert [rule.tag for rule in rules if rule.tag] == ["daily.30d", "daily.366d.GLACIER_IR-30d", "trash.7d"]
    old = next(rule for rule in rules if rule.tag.startswith("daily.366d"))
    assert (old.expire_days, old.transitions) == (366, (Transition(30, "GLACIER_IR"),))


def test_the_second_root_of_a_file_store_is_no_rule() -> None:
    policy = load('cold="file:///x"\n[classes.a]\nkeep_for="9d"\ntransitions=[{after="3d",to="COLD"}]\n', "r")
    rule = next(rule for rule in rules_of(policy, "") if rule.tag == "a.9d.COLD-3d")
    assert (rule.expire_days, rule.transitions) == (9, ())


def test_the_rules_that_a_policy_may_have_fit_a_bucket() -> None:
    most = MAX_RULES - OWN_RULES - 1
    policy = load("".join(f'[classes.c{number}]\nkeep_for = "1d"\n' for number in range(most)), "r")
    assert len(rules_of(policy, "")) == MAX_RULES


@pytest.mark.parametrize("spell", SPELLINGS, ids=lambda spell: spell.__name__)
@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_a_rule_in_the_words_of_a_server_is_the_same_rule(spell: Callable[[Json], Json], prefix: str) -> None:
    wanted = list({rule.id: rule for rule in preset_rules(prefix)}.values())
    found = [spelled(rule, spell) for rule in wanted]
    assert difference(wanted, [FOREIGN, *found], prefix).same == tuple(wanted)
    assert difference(wanted, found, prefix).is_empty
    assert lost_on_the_way([rule.to_json() for rule in wanted], found[::-1]) == ()


def test_what_is_added_changed_removed_and_foreign() -> None:
    wanted = rules_of(preset("default"), PREFIX)
    by_name = {rule.id.rpartition(":")[2]: rule.to_json() for rule in wanted}
    changed = by_name["daily.366d"] | {"Expiration": {"Days": 400}}
    stopped = by_name["hourly.14d"] | {"Status": "Disabled"}
    old = rules_of(load('[classes.x]\nkeep_for = "1d"\n', "r"), PREFIX)[2].to_json()
    of_another = rules_of(preset("default"), "other/")[0].to_json()
    twin = by_name["markers"]
    found = [by_name["abort"], changed, stopped, old, FOREIGN, of_another, twin, twin]
    differ = difference(wanted, found, PREFIX)
    assert [rule.tag for rule in differ.add if rule.tag] == ["recent.2d", "trash.7d"]
    assert [item.before for item in differ.change] == [changed, stopped]
    assert differ.remove == (twin, old)
    assert differ.foreign == (FOREIGN, of_another)
    assert differ.broader == ()
    whole = differ.configuration()
    assert whole[:2] == (FOREIGN, of_another)
    again = difference(wanted, whole, PREFIX)
    assert again.is_empty
    assert again.foreign == differ.foreign


def without_condition(rule: Json, kind: str) -> Json:
    both = rule["Filter"]["And"]
    if kind == "tag":
        rule["Filter"] = {"Prefix": both["Prefix"]}
    elif kind == "prefix":
        rule["Filter"] = {"Tag": both["Tags"][0]}
    elif kind == "filter":
        rule["Filter"] = {}
    elif kind == "shorter prefix":
        both["Prefix"] = both["Prefix"][:-3]
    elif kind == "sooner":
        rule["Expiration"]["Days"] -= 1
    elif kind == "date":
        rule["Expiration"] = {"Date": "2027-01-01T00:00:00Z"}
    elif kind == "moves":
        rule["Transitions"] = [{"Days": 1, "StorageClass": "GLACIER"}]
    elif kind == "aborts":
        rule["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": 1}
    elif kind == "unknown condition":
        both["Owner"] = "me"
    return rule


@pytest.mark.parametrize(
    "kind",
    ["tag", "prefix", "filter", "shorter prefix", "sooner", "date", "moves", "aborts", "unknown condition"],
)
def test_a_rule_that_became_broader_is_named(kind: str) -> None:
    rule = next(rule for rule in rules_of(preset("default"), PREFIX) if rule.tag == "daily.366d")
    found = without_condition(copy.deepcopy(rule.to_json()), kind)
    assert difference([rule], [found], PREFIX).broader == (rule.id,)
    assert "became broader" in lost_on_the_way([rule.to_json()], [found])[0]


@pytest.mark.parametrize("member", ["ObjectSizeGreaterThan", "ObjectSizeLessThan"])
def test_a_foreign_rule_that_lost_its_size_became_broader(member: str) -> None:
    before = copy.deepcopy(FOREIGN)
    before["Filter"]["And"] = {"Prefix": "logs/", member: 500}
    after = copy.deepcopy(before)
    after["Filter"] = {"Prefix": "logs/"}
    assert is_broader(after, before)
    assert not is_broader(before, after)
    assert lost_on_the_way([before], [after]) == ("the rule 'logs' became broader: Filter",)


def test_a_foreign_rule_that_lost_the_versions_it_spares_became_broader() -> None:
    before = FOREIGN | {"NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 5}}
    after = FOREIGN | {"NoncurrentVersionExpiration": {"NoncurrentDays": 3}}
    assert is_broader(after, before)
    assert not is_broader(before, after)


def test_a_rule_that_does_less_is_changed_and_not_broader() -> None:
    rule = next(rule for rule in rules_of(preset("minimal-cost"), PREFIX) if rule.tag.startswith("weekly"))
    found = rule.to_json()
    del found["Transitions"]
    differ = difference([rule], [found], PREFIX)
    assert len(differ.change) == 1
    assert differ.broader == ()
    assert lost_on_the_way([rule.to_json()], [found]) == (f"the rule {rule.id!r} came back changed: Transitions",)


def test_rules_that_vanished_or_came_from_nowhere_are_named() -> None:
    other = FOREIGN | {"ID": "other"}
    assert lost_on_the_way([FOREIGN], [other]) == (
        "the rule 'logs' is not there",
        "the rule 'other' is there and was not written",
    )


def test_more_rules_than_a_bucket_can_have_are_refused() -> None:
    foreign = [FOREIGN | {"ID": f"r{number}"} for number in range(MAX_RULES - 6)]
    with pytest.raises(InvalidInputError, match="1001 lifecycle rules, 994 of them not ours"):
        difference(rules_of(preset("default"), ""), foreign, "")
    difference(rules_of(preset("default"), ""), foreign[1:], "")


@pytest.mark.parametrize("prefix", ["", "a/", "a:b/", "~x/", "x" * 300 + "/"])
def test_ours_are_known_by_their_ids(prefix: str) -> None:
    for rule in rules_of(preset("default"), prefix):
        assert ours(rule.to_json(), prefix)
        assert len(rule.id) <= 255
        assert not ours(rule.to_json(), prefix + "b/")
        assert not ours(rule.to_json(), "other/")
    assert not ours({"ID": f"ckpt-archive:{prefix}:mine"}, prefix)
    assert not ours({"ID": f"{rule_id(prefix, 'abort')}x"}, prefix)
    assert not ours({"ID": 3}, prefix)
    assert not ours({}, prefix)


def test_without_transitions() -> None:
    rules = {rule.tag: rule for rule in rules_of(preset("minimal-cost"), "")}
    weekly = without_transitions(rules["weekly.180d.GLACIER_IR-14d"])
    assert weekly is not None
    assert (weekly.expire_days, weekly.transitions) == (180, ())
    assert without_transitions(rules["milestone.forever.DEEP_ARCHIVE-30d"]) is None


@pytest.mark.parametrize(
    ("change", "is_so"),
    [
        ({}, False),
        ({"Filter": {"Prefix": "team/ckpt/data/"}}, True),
        ({"Filter": {"Prefix": ""}}, True),
        ({"Filter": {}}, True),
        ({"Filter": {"Prefix": "team/"}, "Status": "Disabled"}, False),
        ({"Filter": {"Tag": {"Key": "a", "Value": "b"}}}, True),
        ({"Filter": {"Prefix": "team/"}, "Expiration": {"ExpiredObjectDeleteMarker": True}}, False),
        ({"Filter": {"Prefix": "team/"}, "Expiration": {"Date": "2027-01-01"}}, True),
        ({"Filter": {"Prefix": "team/"}, "Expiration": {}}, False),
    ],
)
def test_foreign_rules_that_may_end_our_data_are_known(change: Json, is_so: bool) -> None:
    assert endangers(FOREIGN | change, PREFIX) == is_so


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"ID": 3, "Filter": []},
        {"Filter": {"And": 3}},
        {"Filter": {"Tag": {"Key": "a"}}},
        {"Filter": {"Prefix": "a", "ObjectSizeLessThan": "x"}},
        {"Expiration": 3},
        {"Transitions": [3]},
        {"Transitions": 3},
        {"Expiration": {"Date": "x"}},
        {"Something": {"new": 1}},
    ],
)
def test_whatever_a_server_says_is_no_rule_of_ours_or_read(raw: Json) -> None:
    LifecycleRule.from_json(raw)
    conditions(raw)
    endangers(raw, PREFIX)
    is_broader(raw, FOREIGN)
    lost_on_the_way([FOREIGN], [raw])
    assert difference([], [raw], PREFIX).foreign == (raw,)


TAGGED = st.builds(
    RetentionClass,
    name=st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
    keep_days=st.none() | st.integers(1, 36_525),
    transitions=st.lists(
        st.builds(Transition, st.integers(1, 36_525), st.sampled_from(sorted(STORAGE_CLASSES))), max_size=6
    ).map(tuple),
)


@given(TAGGED)
def test_a_tag_says_its_terms(item: RetentionClass) -> None:
    assert terms_of(item.tag) == (item.name, item.keep_days, item.transitions)
    assert len(item.tag) <= 200


@given(st.text() | st.from_regex(r"[a-z]{1,3}\.(?:[0-9]{1,3}d|forever)(?:\.[A-Z_]{1,9}-[0-9]d)?", fullmatch=True))
def test_a_text_that_says_terms_is_the_tag_of_these_terms(text: str) -> None:
    terms = terms_of(text)
    if terms is not None:
        name, keep_days, transitions = terms
        assert RetentionClass(name, keep_days, transitions=transitions).tag == text


RULES = st.builds(
    LifecycleRule,
    id=st.text(min_size=1, max_size=9),
    prefix=st.text(max_size=9),
    tag=st.just("") | TAGGED.map(lambda item: item.tag),
    expire_days=st.none() | st.integers(1, 99),
    transitions=st.lists(
        st.builds(Transition, st.integers(1, 99), st.sampled_from(sorted(STORAGE_CLASSES))), max_size=3
    ).map(lambda moves: tuple(sorted(moves, key=lambda move: (move.after_days, move.storage_class)))),
    noncurrent_days=st.none() | st.integers(1, 99),
    abort_days=st.none() | st.integers(1, 99),
    clears_markers=st.just(False),
)


@given(RULES, st.permutations(SPELLINGS))
def test_rules_survive_the_way_to_a_server_and_back(rule: LifecycleRule, spells: list[Callable[[Json], Json]]) -> None:
    raw: Json = rule.to_json()
    for spell in spells:
        raw = spell(copy.deepcopy(raw))
    assert LifecycleRule.from_json(raw) == rule
    assert lost_on_the_way([rule.to_json()], [raw]) == ()
    assert not is_broader(raw, rule.to_json())
