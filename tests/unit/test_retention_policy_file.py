"""What a policy file means, and the policies that come with the package."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ckpt_archive.retention.policy.file import PRESETS, find_policy, load, preset
from ckpt_archive.retention.policy.units import read_bytes, read_days
from ckpt_archive.retention.policy.values import ObjectLock, Quota, RetentionClass, Transition

FULL = """
version = 1
default = "recent"
lifecycle_owner = "terraform"
keep_newest = 5
notice = "1w"
abort_incomplete = "2d"
cold = "file:///mnt/tape/archive"

[promotion]
every = 5
save_every_steps = 100

[classes.recent]
keep_for = "2d"

[classes.hourly]
every = 12
keep_for = "14d"
transitions = [{ after = "3d", to = "COLD" }]

[classes.release]
milestone = "v*"
keep_for = "10y"
lock = { mode = "COMPLIANCE", for = "5y" }
legal_basis = "Art. 18"
review = 2027-01-01
[[classes.release.transitions]]
after = "30d"
to = "GLACIER_IR"
[[classes.release.transitions]]
after = "120d"
to = "DEEP_ARCHIVE"

[classes.trash]
keep_for = "14d"

[quota.runs]
"llama-*" = "50TB"

[quota.projects]
x = "1.5TiB"
"""


def test_everything_that_a_file_can_say() -> None:
    policy = load(FULL, "retention.toml")
    assert policy.classes == (
        RetentionClass("recent", 2),
        RetentionClass("hourly", 14, every=12, transitions=(Transition(3, "COLD"),)),
        RetentionClass(
            "release",
            3_653,
            milestone="v*",
            transitions=(Transition(30, "GLACIER_IR"), Transition(120, "DEEP_ARCHIVE")),
            lock=ObjectLock("COMPLIANCE", 1_827),
            legal_basis="Art. 18",
            review=date(2027, 1, 1),
        ),
        RetentionClass("trash", 14),
    )
    assert (policy.default, policy.lifecycle_owner, policy.keep_newest) == ("recent", "terraform", 5)
    assert (policy.notice_days, policy.abort_incomplete_days, policy.cold) == (7, 2, "file:///mnt/tape/archive")
    assert (policy.every, policy.save_every_steps) == (5, 100)
    assert policy.quotas == (Quota("run", "llama-*", 50 * 10**12), Quota("project", "x", 3 << 39))
    assert (policy.name, policy.text) == ("retention.toml", FULL)
    assert len(policy.sha256) == 64


def test_the_smallest_file() -> None:
    policy = load('[classes.x]\nkeep_for = "14d"\n', "r")
    assert policy.classes == (RetentionClass("x", 14), RetentionClass("trash", 7))
    assert (policy.default, policy.keep_newest, policy.notice_days, policy.abort_incomplete_days) == ("x", 3, 2, 7)


@pytest.mark.parametrize(
    ("names", "default"),
    [
        (["a"], "a"),
        (["a", "b"], ""),
        (["a", "recent"], "recent"),
        (["recent", "default"], "default"),
        (["a", "b explicit = true"], "a"),
        (["a explicit = true"], ""),
        (["a", "b every = 3", "c milestone = true"], "a"),
        (["b every = 3"], ""),
        (["a", "b explicit = false"], ""),
        (["a", "b milestone = false"], ""),
    ],
)
def test_the_class_of_what_no_other_chooses(names: list[str], default: str) -> None:
    parts = [name.partition(" ") for name in names]
    text = "".join(
        f'[classes.{name}]\nkeep_for = "{7 + number}d"\n{rest}\n' for number, (name, _, rest) in enumerate(parts)
    )
    assert load(text, "r").default == default


def test_a_review_in_the_past_is_fine_as_the_file_does_not_change_with_the_day() -> None:
    assert load('[classes.x]\nkeep_for = "1d"\nreview = 1999-01-01\n', "r").classes[0].review == date(1999, 1, 1)


def test_a_class_that_is_both_counted_and_named_is_fine() -> None:
    item = load('[classes.x]\nkeep_for = "1d"\nevery = 2\nmilestone = true\n', "r").classes[0]
    assert (item.every, item.milestone) == (2, "*")


def test_a_lock_as_long_as_the_class_and_a_move_of_what_is_locked_are_fine() -> None:
    text = (
        '[classes.x]\nkeep_for = "1y"\nlock = {mode="COMPLIANCE", for="1y"}\ntransitions=[{after="9d", to="GLACIER"}]'
    )
    item = load(text, "r").classes[0]
    assert (item.lock, item.transitions) == (ObjectLock("COMPLIANCE", 366), (Transition(9, "GLACIER"),))


@pytest.mark.parametrize("years", range(1, 101))
def test_years_never_end_a_day_early(years: int) -> None:
    longest = max(
        (datetime(start + years, month, 1, tzinfo=UTC) - datetime(start, month, 1, tzinfo=UTC)).days
        for start in range(2000, 2040)
        for month in (1, 3)
    )
    assert longest <= read_days(f"{years}y") <= longest + 1


def test_ten_years_are_as_many_days_as_ten_years_can_have() -> None:
    assert (read_days("1y"), read_days("10y"), read_days("2w"), read_days("14d")) == (366, 3_653, 14, 14)
    assert datetime(2027, 8, 2, tzinfo=UTC) + timedelta(days=3_653) >= datetime(2037, 8, 2, tzinfo=UTC)


def test_sizes() -> None:
    assert [read_bytes(text) for text in ("1KB", "1.5 TB", "1TiB")] == [1_000, 1_500 * 10**9, 1 << 40]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_choose_by_count_and_by_name(name: str) -> None:
    policy = preset(name)
    assert policy.name == name
    assert policy.default == "recent"
    milestone, why = policy.choose({"rule": "milestone", "name": "v1"})
    assert milestone is not None
    assert milestone.keep_days is None or milestone.keep_days >= 3_653
    assert why == "milestone 'v1'"
    daily, _ = policy.choose({"rule": "every", "ordinal": 288})
    assert daily is not None
    assert daily.name == "daily"
    recent, _ = policy.choose({"rule": "every", "ordinal": 1})
    assert recent is not None
    assert recent.name == "recent"


def test_the_default_preset_thins() -> None:
    policy = preset("default")
    kept = {item.name: (item.every, item.keep_days) for item in policy.classes}
    assert kept == {
        "recent": (None, 2),
        "hourly": (12, 14),
        "daily": (288, 366),
        "milestone": (None, None),
        "trash": (None, 7),
    }


def test_the_preset_for_ten_years() -> None:
    release = preset("eu-ai-10y").named("release")
    assert release is not None
    assert release.keep_days == 3_653
    assert release.lock == ObjectLock("GOVERNANCE", 3_653)
    assert "Art. 18" in release.legal_basis
    assert release.review == date(2027, 8, 2)


def test_which_policy_is_meant() -> None:
    files = {"retention.toml": b'[classes.a]\nkeep_for = "1d"\n', "x.toml": b'[classes.b]\nkeep_for = "1d"\n'}
    assert find_policy(None, files.get).default == "a"
    assert find_policy("x.toml", files.get).default == "b"
    assert find_policy("eu-ai-10y", files.get).name == "eu-ai-10y"
    assert find_policy(None, lambda _: None).name == "default"


def test_the_class_that_somebody_said_counts_in_its_order() -> None:
    policy = preset("default")
    promotion = {"rule": "milestone", "name": "v1", "ordinal": 288}

    def chosen(**told: str) -> tuple[str | None, str]:
        item, why = policy.choose(promotion, **told)
        return item.name if item else None, why

    assert chosen(said="hourly", assigned="daily") == ("daily", "assigned to daily")
    assert chosen(said="hourly") == ("hourly", "saved as hourly")
    assert chosen() == ("milestone", "milestone 'v1'")
    assert chosen(said="gone") == (None, "saved as gone, which the policy does not have")
    assert chosen(assigned="gone") == (None, "assigned to gone, which the policy does not have")
    counted, why = policy.choose({"rule": "every", "ordinal": 576})
    assert counted is not None
    assert (counted.name, why) == ("daily", "promotion 576, every 288")
    without = load('[classes.x]\nkeep_for = "1d"\nevery = 2\n', "r")
    assert without.choose({"rule": "push"}) == (None, "no class chooses it")
    assert without.choose({"rule": "every", "ordinal": True}) == (None, "no class chooses it")
