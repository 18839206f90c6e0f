"""The model of a lifecycle engine against servers: SeaweedFS carries rules out itself, moto takes and refuses them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ckpt_archive.devserver import DevServer
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import Bucket
from ckpt_archive.store.protocol import Store
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_bucket import S3Bucket
from ckpt_archive.testing.archives import keys, memory_store
from ckpt_archive.testing.executed_bucket import ExecutedMemoryBucket, ExecutedServer
from ckpt_archive.testing.lifecycle_configuration import RefusedRuleError, parse_rules
from ckpt_archive.testing.lifecycle_engine import Act, run_engine
from ckpt_archive.testing.seaweed_engine import make_older, run_lifecycle

PAST = "2026-01-01T00:00:00Z"
FUTURE = "2096-01-01T00:00:00Z"

OBJECTS: dict[str, dict[str, str]] = {
    "data/a/1": {"class": "daily.1d"},
    "data/a/2": {"class": "daily.2d"},
    "data/a/3": {},
    "data/b/4": {"class": "daily.1d", "owner": "ann"},
    "data/b/5": {"owner": "ann"},
    "log/6": {"class": "daily.1d"},
    "dat/7": {},
}


def rule(number: int, filter_: dict[str, Any], date: str = PAST, status: str = "Enabled") -> dict[str, Any]:
    """Objects expire from a day on: the only age that nobody has to wait for."""
    return {"ID": str(number), "Status": status, "Filter": filter_, "Expiration": {"Date": date}}


def tag(value: str, name: str = "class") -> dict[str, str]:
    """As rules have it."""
    return {"Key": name, "Value": value}


CONFIGURATIONS = {
    "a prefix": [rule(1, {"Prefix": "P/data/a/"})],
    "a tag": [rule(1, {"Tag": tag("daily.2d")})],
    "a prefix and a tag": [rule(1, {"And": {"Prefix": "P/data/", "Tags": [tag("daily.1d")]}})],
    "two tags": [rule(1, {"And": {"Prefix": "P/", "Tags": [tag("daily.1d"), tag("ann", "owner")]}})],
    "a tag that nothing has": [rule(1, {"And": {"Prefix": "P/", "Tags": [tag("daily")]}})],
    "a day that has not come": [rule(1, {"Prefix": "P/"}, FUTURE)],
    "a rule that is off": [rule(1, {"Prefix": "P/"}, status="Disabled")],
    "the earlier of two": [rule(1, {"Prefix": "P/data/"}, FUTURE), rule(2, {"Prefix": "P/data/b/"})],
    "two that are about different objects": [
        rule(1, {"And": {"Prefix": "P/data/", "Tags": [tag("daily.2d")]}}),
        rule(2, {"And": {"Prefix": "P/log/", "Tags": [tag("daily.1d")]}}),
    ],
}


def under(prefix: str, value: Any) -> Any:
    """The same rules for the prefix of a store."""
    if isinstance(value, dict):
        return {name: under(prefix, item) for name, item in value.items()}
    if isinstance(value, list):
        return [under(prefix, item) for item in value]
    return value.replace("P/", prefix) if isinstance(value, str) else value


def fill(store: Store, bucket: Bucket) -> None:
    """Objects with tags; one was tagged, and is not any more."""
    for key, tags in OBJECTS.items():
        store.create(key, Body.of(b"x"))
        bucket.write_tags(key, tags or {"class": "daily.1d"})
        bucket.write_tags(key, tags)


@pytest.fixture
def ruled_store(seaweed_store: S3Store) -> Iterator[S3Store]:
    """A store on SeaweedFS whose bucket has no rules, before and after."""
    bucket = S3Bucket(seaweed_store)
    bucket.write_rules(())
    yield seaweed_store
    bucket.write_rules(())


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_model_leaves_what_seaweedfs_leaves(name: str, ruled_store: S3Store, seaweed: DevServer) -> None:
    theirs = S3Bucket(ruled_store)
    fill(ruled_store, theirs)
    theirs.write_rules(under(theirs.prefix, CONFIGURATIONS[name]))
    run_lifecycle(seaweed)
    store = memory_store()
    ours = ExecutedMemoryBucket(store, prefix="team/archive")
    fill(store, ours)
    ours.write_rules(under(ours.prefix, CONFIGURATIONS[name]))
    run_engine(ours)
    assert sorted(keys(store)) == sorted(keys(ruled_store))


def test_the_model_and_seaweedfs_agree_about_ages(ruled_store: S3Store, seaweed: DevServer) -> None:
    """Days away from the midnight up to which S3 rounds, and SeaweedFS does not."""
    theirs = S3Bucket(ruled_store)
    store = memory_store()
    ours = ExecutedMemoryBucket(store, prefix="team/archive")
    for some, bucket in ((ruled_store, theirs), (store, ours)):
        fill(some, bucket)
        rules = [
            {
                "ID": "old",
                "Status": "Enabled",
                "Filter": {"Prefix": f"{bucket.prefix}data/a/"},
                "Expiration": {"Days": 3},
            },
            {
                "ID": "young",
                "Status": "Enabled",
                "Filter": {"Prefix": f"{bucket.prefix}data/b/"},
                "Expiration": {"Days": 9},
            },
        ]
        bucket.write_rules(rules)
    make_older(seaweed, ruled_store.bucket, days=6)
    store.clock.sleep(6 * 86_400.0)
    run_lifecycle(seaweed)
    run_engine(ours)
    assert sorted(keys(store)) == sorted(keys(ruled_store)) == ["dat/7", "data/b/4", "data/b/5", "log/6"]


@pytest.mark.parametrize("server", ["seaweed_store", "moto_store"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_servers_give_back_rules_that_mean_the_same(name: str, server: str, request: pytest.FixtureRequest) -> None:
    store: S3Store = request.getfixturevalue(server)
    bucket = S3Bucket(store)
    rules = under(bucket.prefix, CONFIGURATIONS[name])
    bucket.write_rules(rules)
    try:
        assert parse_rules(bucket.read_rules()) == parse_rules(rules)
    finally:
        bucket.write_rules(())


REFUSED_BY_MOTO: dict[str, dict[str, Any]] = {
    "days and a marker": {"Filter": {"Prefix": ""}, "Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}},
    "two conditions without And": {
        "Filter": {"Prefix": "x", "Tag": tag("a")},
        "Expiration": {"Days": 1},
    },
    "neither filter nor prefix": {"Expiration": {"Days": 1}},
    "filter and prefix": {"Filter": {"Prefix": "x"}, "Prefix": "x", "Expiration": {"Days": 1}},
    "old versions without days": {
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NewerNoncurrentVersions": 1},
    },
}


@pytest.mark.parametrize("name", REFUSED_BY_MOTO)
def test_what_moto_refuses_the_model_refuses(name: str, moto_store: S3Store) -> None:
    raw = {"ID": "1", "Status": "Enabled", **REFUSED_BY_MOTO[name]}
    with pytest.raises(CkptArchiveError):
        S3Bucket(moto_store).write_rules([raw])
    with pytest.raises(RefusedRuleError):
        parse_rules([raw])


def test_old_versions_and_delete_markers_go_the_same_way_on_moto(moto_locked_store: S3Store) -> None:
    """What the engine does to a versioned bucket leaves there, step by step, what it leaves in the one in memory."""
    server = S3Bucket(moto_locked_store)
    memory = memory_store()
    ours = ExecutedMemoryBucket(memory, prefix="team/archive", versioned=True)
    rules = [
        {
            "ID": "end",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "P/data/", "Tags": [tag("daily.1d")]}},
            "Expiration": {"Days": 1},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        },
        {
            "ID": "markers",
            "Status": "Enabled",
            "Filter": {"Prefix": "P/"},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
        },
    ]
    theirs = ExecutedServer(moto_locked_store, server)
    for store, bucket in ((moto_locked_store, server), (memory, ours)):
        fill(store, bucket)
        bucket.write_rules(under(bucket.prefix, rules))
    try:
        for days in (0, 3, 6, 9):
            theirs.ahead = timedelta(days=days)
            done = run_engine(theirs)
            memory.clock.sleep(3 * 86_400.0 * (days > 0))
            assert _plain(done, server.prefix) == _plain(run_engine(ours), ours.prefix), days
            assert _states(server) == _states(ours), days
        assert sorted(keys(memory)) == ["dat/7", "data/a/2", "data/a/3", "data/b/5", "log/6"]
    finally:
        server.write_rules(())


def _plain(done: Any, prefix: str) -> list[tuple[Act, str]]:
    return sorted((due.act, due.key.removeprefix(prefix)) for due in done)


def _states(bucket: Bucket) -> list[tuple[str, bool, bool]]:
    return sorted((item.key, item.is_latest, item.is_marker) for item in bucket.versions(""))
