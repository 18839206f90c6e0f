"""The checks of the bucket conformance suite on tags, rules, storage classes and what is there without versions."""

from datetime import timedelta

import pytest

from ckpt_archive.errors import ColdError, InvalidInputError, NotFoundError, UnsupportedError
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import BucketFeatures, RawRule, Warmth
from ckpt_archive.testing.bucket_conformance_base import Checks, Site, by_id, by_multipart, soon

OURS: tuple[RawRule, ...] = (
    {
        "ID": "ckpt-archive:site:class:daily.365d",
        "Status": "Enabled",
        "Filter": {
            "And": {
                "Prefix": "site/data/",
                "Tags": [{"Key": "ckpt-archive-class", "Value": "daily.365d"}],
            }
        },
        "Expiration": {"Days": 365},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    },
    {
        "ID": "ckpt-archive:site:abort",
        "Status": "Enabled",
        "Filter": {"Prefix": "site/"},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    },
)
FOREIGN: tuple[RawRule, ...] = (
    {"ID": "of old", "Status": "Disabled", "Prefix": "old/", "Expiration": {"Date": "2031-01-01T00:00:00Z"}},
    {
        "ID": "markers",
        "Status": "Enabled",
        "Filter": {"Prefix": "x/"},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
    },
    {"ID": "tag", "Status": "Enabled", "Filter": {"Tag": {"Key": "a b", "Value": "ä&<>"}}, "Expiration": {"Days": 3}},
)
CONDITIONS: tuple[RawRule, ...] = (
    {
        "ID": "larger",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": "y/", "ObjectSizeGreaterThan": 1000}},
        "Expiration": {"Days": 1},
    },
    {
        "ID": "newer",
        "Status": "Enabled",
        "Filter": {"Prefix": "z/"},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2},
    },
)
TRANSITIONS: tuple[RawRule, ...] = (
    {
        "ID": "colder",
        "Status": "Enabled",
        "Filter": {"Prefix": "site/data/"},
        "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}, {"Days": 120, "StorageClass": "DEEP_ARCHIVE"}],
    },
)


class TagConformance(Checks):
    """Tags."""

    def test_an_object_has_the_tags_that_were_written_last(self, site: Site) -> None:
        """All of them are replaced; none removes them; twice is as once."""
        site.store.create("key", Body.of(b"data"))
        assert site.bucket.read_tags("key") == {}
        tags = {"ckpt-archive-class": "daily.365d.GLACIER-30d", "owner": "team a+b=/@_:-"}
        for _ in range(2):
            site.bucket.write_tags("key", tags)
            assert site.bucket.read_tags("key") == tags
        site.bucket.write_tags("key", {"ckpt-archive-class": "x" * 200})
        assert site.bucket.read_tags("key") == {"ckpt-archive-class": "x" * 200}
        for _ in range(2):
            site.bucket.write_tags("key", {})
            assert site.bucket.read_tags("key") == {}

    def test_an_object_made_by_a_multipart_upload_can_be_tagged(self, site: Site) -> None:
        """Most data objects are made so."""
        by_multipart(site.store, "key")
        site.bucket.write_tags("key", {"ckpt-archive-class": "daily.365d"})
        assert site.bucket.read_tags("key") == {"ckpt-archive-class": "daily.365d"}

    def test_there_are_no_tags_of_no_object(self, site: Site) -> None:
        """Neither to read nor to write."""
        with pytest.raises(NotFoundError):
            site.bucket.read_tags("nothing")
        for tags in ({"a": "b"}, {}):
            with pytest.raises(NotFoundError):
                site.bucket.write_tags("nothing", tags)

    def test_tags_change_neither_bytes_nor_age(self, site: Site) -> None:
        """An end is computed from an object's age."""
        site.store.create("key", Body.of(b"data"))
        before = site.store.head("key")
        site.bucket.write_tags("key", {"ckpt-archive-class": "daily.365d"})
        assert site.store.head("key") == before
        assert site.store.list("key").objects[0].modified == before.modified

    def test_a_new_object_does_not_inherit_tags(self, site: Site) -> None:
        """Nor anything else, from one that was deleted."""
        site.store.create("key", Body.of(b"data"))
        site.bucket.write_tags("key", {"ckpt-archive-class": "daily.365d"})
        site.store.delete("key")
        site.store.create("key", Body.of(b"data"))
        assert site.bucket.read_tags("key") == {}


class RuleConformance(Checks):
    """Lifecycle rules."""

    @pytest.mark.parametrize("rules", [OURS, FOREIGN, OURS + FOREIGN], ids=["ours", "foreign", "all"])
    def test_rules_come_back_as_they_were_written(self, site: Site, rules: tuple[RawRule, ...]) -> None:
        """Ours, and such as others have."""
        assert site.bucket.read_rules() == ()
        for _ in range(2):
            site.bucket.write_rules(rules)
            assert by_id(site.bucket.read_rules()) == by_id(rules)

    def test_rules_that_were_read_can_be_written_again(self, site: Site) -> None:
        """As whoever adds a rule does with those of others."""
        site.bucket.write_rules(FOREIGN)
        site.bucket.write_rules(site.bucket.read_rules() + OURS)
        assert by_id(site.bucket.read_rules()) == by_id(FOREIGN + OURS)

    def test_rules_are_replaced_all_together(self, site: Site) -> None:
        """What is not written again is gone."""
        site.bucket.write_rules(FOREIGN)
        site.bucket.write_rules(OURS[:1])
        assert by_id(site.bucket.read_rules()) == by_id(OURS[:1])

    def test_no_rules_remove_the_configuration(self, site: Site) -> None:
        """Also where there is none."""
        site.bucket.write_rules(OURS)
        for _ in range(2):
            site.bucket.write_rules(())
            assert site.bucket.read_rules() == ()

    def test_conditions_of_rules_come_back(self, site: Site) -> None:
        """A rule that loses a condition deletes more than it did."""
        site.bucket.write_rules(CONDITIONS)
        assert by_id(site.bucket.read_rules()) == by_id(CONDITIONS)

    def test_transitions_come_back(self, site: Site) -> None:
        """In their order."""
        site.bucket.write_rules(TRANSITIONS)
        assert by_id(site.bucket.read_rules()) == by_id(TRANSITIONS)

    def test_who_does_not_know_transitions_says_so_and_changes_nothing(self, site: Site) -> None:
        """It carries them out, or refuses all of it."""
        site.bucket.write_rules(FOREIGN)
        try:
            site.bucket.write_rules(OURS + TRANSITIONS)
        except UnsupportedError:
            assert by_id(site.bucket.read_rules()) == by_id(FOREIGN)
        else:
            assert by_id(site.bucket.read_rules()) == by_id(OURS + TRANSITIONS)

    def test_what_is_no_rule_is_refused_and_changes_nothing(self, site: Site) -> None:
        """All of it."""
        site.bucket.write_rules(FOREIGN)
        with pytest.raises(InvalidInputError):
            site.bucket.write_rules([*OURS, {"ID": "no status", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 1}}])
        assert by_id(site.bucket.read_rules()) == by_id(FOREIGN)


class TemperatureConformance(Checks):
    """Storage classes and thawing."""

    def test_what_is_warm_is_warm(self, site: Site) -> None:
        """And nothing happens to it when it is thawed."""
        site.store.create("key", Body.of(b"data"))
        found = site.bucket.temperature("key")
        assert (found.key, found.size_bytes, found.storage_class) == ("key", 4, "")
        assert (found.warmth, found.until_at) == (Warmth.WARM, None)
        site.bucket.request_thaw("key", days=2, tier="Bulk")
        assert site.bucket.temperature("key") == found

    def test_no_object_is_neither_warm_nor_cold(self, site: Site) -> None:
        """Nor can it be thawed."""
        with pytest.raises(NotFoundError):
            site.bucket.temperature("nothing")
        with pytest.raises(NotFoundError):
            site.bucket.request_thaw("nothing", days=2, tier="Bulk")

    def test_a_cold_object_is_thawed(self, site: Site) -> None:
        """It can not be read before, is cold and readable after; asking twice is fine."""
        site.store.create("key", Body.of(b"data"))
        site.make_cold("key")
        found = site.bucket.temperature("key")
        assert (found.storage_class, found.warmth) == ("GLACIER", Warmth.COLD)
        with pytest.raises(ColdError, match="key"):
            site.store.read("key", limit_bytes=10)
        with pytest.raises(ColdError, match="key"):
            site.store.fetch("key", offset=1, length=2, etag=None, sink=lambda _: None)
        for _ in range(2):
            site.bucket.request_thaw("key", days=2, tier="Standard")
            assert site.bucket.temperature("key").warmth in (Warmth.THAWING, Warmth.THAWED)
        if site.bucket.temperature("key").warmth is Warmth.THAWING:
            site.clock.sleep(12 * 3600)
        found = site.bucket.temperature("key")
        assert (found.storage_class, found.warmth) == ("GLACIER", Warmth.THAWED)
        assert found.until_at is not None
        assert found.until_at > site.clock.now() + timedelta(days=1)
        assert site.store.read("key", limit_bytes=10).data == b"data"


class VersionConformance(Checks):
    """Versions where there are none."""

    def test_without_versions_each_object_is_one(self, site: Site) -> None:
        """Whose name is null."""
        for key in ("a/1", "a/2", "b"):
            site.store.create(key, Body.of(b"data"))
        found = list(site.bucket.versions("a/"))
        assert [(item.key, item.size_bytes, item.is_latest, item.is_marker) for item in found] == [
            ("a/1", 4, True, False),
            ("a/2", 4, True, False),
        ]
        assert {item.version_id for item in found} == {"null"}
        assert len(list(site.bucket.versions(""))) == 3

    def test_without_versions_nothing_stays_of_what_was_deleted(self, site: Site) -> None:
        """No mark either."""
        site.store.create("key", Body.of(b"data"))
        site.store.delete("key")
        assert list(site.bucket.versions("")) == []

    def test_locks_where_there_are_none(self, site: Site) -> None:
        """All questions for them say so."""
        site.store.create("key", Body.of(b"data"))
        assert site.bucket.features() == BucketFeatures(versioned=False, object_lock=False)
        for ask in (
            lambda: site.bucket.write_legal_hold("key", on=True),
            lambda: site.bucket.write_retention("key", "COMPLIANCE", soon(site)),
            lambda: site.bucket.read_lock("key"),
        ):
            with pytest.raises(UnsupportedError, match="Object Lock"):
                ask()
