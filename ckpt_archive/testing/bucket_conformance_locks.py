"""The checks of the bucket conformance suite on locks and versions."""

import pytest

from ckpt_archive.errors import DeniedError, InvalidInputError, NotFoundError
from ckpt_archive.store.body import Body
from ckpt_archive.store.bucket import BucketFeatures, ObjectLockState
from ckpt_archive.testing.bucket_conformance_base import Checks, Site, made, only_version, soon


class LockConformance(Checks):
    """Locks and versions."""

    def test_what_is_deleted_stays_as_an_old_version(self, site: Site) -> None:
        """Under a mark, whose removal brings it back."""
        assert site.bucket.features() == BucketFeatures(versioned=True, object_lock=True)
        site.store.create("key", Body.of(b"data"))
        first = only_version(site, "key")
        site.store.delete("key")
        marker, old = site.bucket.versions("key")
        assert (marker.is_marker, marker.is_latest, marker.size_bytes) == (True, True, 0)
        assert (old.is_marker, old.is_latest, old.version_id, old.size_bytes) == (False, False, first, 4)
        site.store.create("key", Body.of(b"anew"))
        newest, *others = site.bucket.versions("key")
        assert (newest.is_latest, newest.is_marker) == (True, False)
        # Of the same second, so in either order.
        assert {item.version_id for item in others} == {marker.version_id, first}
        site.remove_version("key", newest.version_id)
        site.remove_version("key", marker.version_id)
        assert site.store.read("key", limit_bytes=10).data == b"data"

    @pytest.mark.parametrize("how", ["put", "multipart"])
    def test_a_legal_hold_stands_until_it_is_released(self, site: Site, how: str) -> None:
        """However the object was made."""
        version = made(site, "key", how)
        assert not site.bucket.read_lock("key").legal_hold
        for _ in range(2):
            site.bucket.write_legal_hold("key", on=True)
            assert site.bucket.read_lock("key") == ObjectLockState(legal_hold=True)
        with pytest.raises(DeniedError):
            site.remove_version("key", version)
        assert only_version(site, "key") == version
        for _ in range(2):
            site.bucket.write_legal_hold("key", on=False)
            assert site.bucket.read_lock("key") == ObjectLockState()
        site.remove_version("key", version)
        assert list(site.bucket.versions("key")) == []

    @pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
    @pytest.mark.parametrize("how", ["put", "multipart"])
    def test_a_lock_stands(self, site: Site, how: str, mode: str) -> None:
        """However the object was made."""
        version = made(site, "key", how)
        site.bucket.write_retention("key", mode, soon(site))
        with pytest.raises(DeniedError):
            site.remove_version("key", version)
        assert only_version(site, "key") == version

    @pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
    def test_a_lock_tells_its_mode_and_its_end(self, site: Site, mode: str) -> None:
        """And can be set again as it is."""
        made(site, "key", "put")
        assert site.bucket.read_lock("key") == ObjectLockState()
        for _ in range(2):
            # The same once more is no shorter.
            site.bucket.write_retention("key", mode, soon(site))
            assert site.bucket.read_lock("key") == ObjectLockState(mode=mode, until_at=soon(site))

    @pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
    def test_a_lock_can_only_be_made_longer(self, site: Site, mode: str) -> None:
        """In either mode."""
        version = made(site, "key", "put")
        site.bucket.write_retention("key", mode, soon(site, hours=2))
        with pytest.raises(DeniedError, match="key"):
            site.bucket.write_retention("key", mode, soon(site, hours=1))
        site.bucket.write_retention("key", mode, soon(site, hours=3))
        assert site.bucket.read_lock("key") == ObjectLockState(mode=mode, until_at=soon(site, hours=3))
        with pytest.raises(DeniedError):
            site.remove_version("key", version)

    def test_compliance_does_not_become_governance(self, site: Site) -> None:
        """Not even for longer."""
        made(site, "key", "put")
        site.bucket.write_retention("key", "COMPLIANCE", soon(site, hours=1))
        with pytest.raises(DeniedError):
            site.bucket.write_retention("key", "GOVERNANCE", soon(site, hours=2))

    def test_a_hold_and_a_lock_know_nothing_of_each_other(self, site: Site) -> None:
        """Releasing one leaves the other."""
        made(site, "key", "put")
        site.bucket.write_retention("key", "GOVERNANCE", soon(site))
        site.bucket.write_legal_hold("key", on=True)
        assert site.bucket.read_lock("key") == ObjectLockState(True, "GOVERNANCE", soon(site))
        site.bucket.write_legal_hold("key", on=False)
        assert site.bucket.read_lock("key") == ObjectLockState(False, "GOVERNANCE", soon(site))

    def test_a_lock_ends_in_the_future(self, site: Site) -> None:
        """One that has ended is none."""
        made(site, "key", "put")
        with pytest.raises(InvalidInputError):
            site.bucket.write_retention("key", "GOVERNANCE", soon(site, hours=-1))

    def test_no_object_is_locked(self, site: Site) -> None:
        """Whatever is asked, it is not there."""
        for ask in (
            lambda: site.bucket.read_lock("nothing"),
            lambda: site.bucket.write_legal_hold("nothing", on=True),
            lambda: site.bucket.write_retention("nothing", "GOVERNANCE", soon(site)),
        ):
            with pytest.raises(NotFoundError):
                ask()

    def test_a_held_object_can_be_marked_as_deleted_and_its_bytes_stay(self, site: Site) -> None:
        """A hold protects versions, not names."""
        version = made(site, "key", "put")
        site.bucket.write_legal_hold("key", on=True)
        site.store.delete("key")
        marker, held = site.bucket.versions("key")
        assert (marker.is_marker, held.version_id) == (True, version)
        with pytest.raises(DeniedError):
            site.remove_version("key", version)
