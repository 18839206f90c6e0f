"""An archive in memory whose checkpoints end: a clock that is moved by hand, launches, commits, policies, an engine."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from ckpt_archive.commit import catalog
from ckpt_archive.commit.committing import try_commit
from ckpt_archive.commit.connection import Connection
from ckpt_archive.commit.event import Event, read_event
from ckpt_archive.commit.fate import Fate, read_fates
from ckpt_archive.commit.launch import LaunchRequest, Resumption, open_launch
from ckpt_archive.contribution import Contribution
from ckpt_archive.machine import Machine
from ckpt_archive.place import Place
from ckpt_archive.retention.passes.apply import Outcome, apply
from ckpt_archive.retention.passes.voice import Voice
from ckpt_archive.retention.plans.plan import Kind
from ckpt_archive.retention.plans.planning import Plan, make_plan
from ckpt_archive.retention.policy.file import load
from ckpt_archive.retention.policy.values import TAG_KEY, Policy, midnight_after
from ckpt_archive.retention.rules.rules import LifecycleRule
from ckpt_archive.store.bucket import Bucket
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.memory_bucket import MemoryBucket
from ckpt_archive.store.protocol import Store, StoreLimits, list_all
from ckpt_archive.strictjson import Json
from ckpt_archive.testing.archives import connected
from ckpt_archive.testing.checkpoints import ARCHIVE_ID, INLINE, ManualClock, contribute_files
from ckpt_archive.testing.staged import local_machine

POLICY = """
default = "recent"
keep_newest = 2

[classes.recent]
keep_for = "2d"

[classes.hourly]
every = 12
keep_for = "14d"

[classes.milestone]
milestone = "*"
keep_for = "forever"

[classes.explicit]
explicit = true
keep_for = "30d"
"""


def policy(text: str = POLICY) -> Policy:
    """The policy in this text."""
    return load(text, "retention.toml")


class Archived:
    """The archive.

    Args:
        with_bucket: Whether the store has tags and rules; more arguments as `MemoryBucket`.
    """

    def __init__(self, *, with_bucket: bool = True, **features: Any) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(limits=StoreLimits(min_part_size_bytes=1), clock=self.clock)
        self.bucket = MemoryBucket(self.store, **features) if with_bucket else None
        self.machine: Machine = local_machine(clock=self.clock)
        self.connection = replace(connected(self.store), bucket=self.bucket)
        self._launches = 0

    def connect(self, store: Store | None = None, bucket: Bucket | None = None) -> Connection:
        """A connection through wrappers of the store and the bucket."""
        return replace(self.connection, store=store or self.store, bucket=bucket or self.bucket)

    def later(self, **passed: float) -> None:
        """Let time pass."""
        self.clock.sleep(timedelta(**passed).total_seconds())

    # --- what trainers do ------------------------------------------------------------------------------------------------

    def launch(self, run: str = "run-a", back_to: Place | None = None) -> int:
        """Launch a run, perhaps from an older checkpoint; the attempt."""
        self._launches += 1
        request = LaunchRequest(
            ARCHIVE_ID, run, f"{run}-{self._launches}", 1, self.clock.now(), maybe_recorded=False, join=False
        )
        resumption = None if back_to is None else Resumption(back_to, explicit=True)
        return open_launch(
            self.store, request, lambda standing: resumption or Resumption(standing.head, explicit=False)
        ).attempt

    def commit(
        self, step: int, run: str = "run-a", attempt: int = 0, *, ordinal: int = 1, milestone: str = "", said: str = ""
    ) -> Place:
        """Archive a checkpoint; its run is launched if it was not."""
        place = Place(run, attempt, step)
        if not list_all(self.store, f"runs/{run}/attempts/"):
            self.launch(run)
        promotion: dict[str, Json] = {"rule": "every", "count": 1, "ordinal": ordinal}
        if milestone:
            promotion = {"rule": "milestone", "name": milestone}
        contribution = Contribution(f"{run}-{attempt}", 1, self.clock.now(), promotion=promotion, retention_class=said)
        files = {"model.bin": f"{place} weights".encode() * 100, "optimizer.bin": f"{place} moments".encode() * 50}
        data = contribute_files(
            self.store, place, files, contribution=contribution, settings=self.connection.settings
        ).data
        try_commit(self.store, INLINE, place, archive_id=ARCHIVE_ID, writers=1, own={0: data})
        return place

    def commit_many(self, count: int, run: str = "run-a", first: int = 1, hours: float = 1.0) -> list[Place]:
        """Archive checkpoints, one each hour, counted by their ordinals."""
        found = []
        for ordinal in range(first, first + count):
            found.append(self.commit(ordinal * 100, run, ordinal=ordinal))
            self.later(hours=hours)
        return found

    # --- what the storage owner does -------------------------------------------------------------------------------------

    def voice(self, chosen: Policy, connection: Connection | None = None) -> Voice:
        """Who acts."""
        return Voice(self.machine, connection or self.connection, "owner", chosen.sha256)

    def plan(self, chosen: Policy | None = None, connection: Connection | None = None) -> Plan:
        """The plan that would be made now, with all changes."""
        return make_plan(self.machine, connection or self.connection, chosen or policy(), show=None)

    def apply(self, chosen: Policy | None = None, connection: Connection | None = None) -> Outcome:
        """Plan and apply."""
        which = chosen or policy()
        plan = make_plan(self.machine, connection or self.connection, which)
        return apply(self.voice(which, connection), plan)

    def engine(self) -> int:
        """Delete what the bucket's rules say is due; how many objects that were."""
        assert self.bucket is not None
        rules = [LifecycleRule.from_json(raw) for raw in self.bucket.read_rules()]
        count = 0
        for item in self.bucket.objects():
            for rule in rules:
                if rule is None or rule.expire_days is None or not item.key.startswith(rule.prefix):
                    continue
                due = midnight_after(item.created + timedelta(days=rule.expire_days)) <= self.clock.now()
                if due and rule.tag in ("", item.tags.get(TAG_KEY)):
                    self.bucket.expire(item.key)
                    count += 1
                    break
        return count

    # --- what there is ---------------------------------------------------------------------------------------------------

    def fate(self, place: Place) -> Fate:
        """What was said about a checkpoint."""
        return read_fates(self.store, place.run).fate(place)

    def tags(self, place: Place) -> set[str]:
        """The tags of classes that its objects have; "" for none."""
        assert self.bucket is not None
        return {self.bucket.read_tags(key).get(TAG_KEY, "") for key in self.keys(place)}

    def keys(self, place: Place) -> list[str]:
        """Its objects."""
        return [info.key for info in list_all(self.store, f"data/{place.run}/{place.attempt:08d}/{place.step:012d}/")]

    def committed(self) -> list[Place]:
        """All committed checkpoints."""
        return [place for run in catalog.runs(self.store) for place in catalog.places(self.store, run)]

    def events(self, kind: str) -> list[Event]:
        """The events of a kind, in the order of their keys."""
        found = [
            read_event(self.store.read(info.key, limit_bytes=1 << 20).data, info.key)
            for info in list_all(self.store, "log/events/")
        ]
        return [event for event in found if event.kind == kind]


def kinds(plan: Plan) -> dict[Place, list[Kind]]:
    """What a plan does, by checkpoint."""
    found: dict[Place, list[Kind]] = {}
    for change in plan.changes:
        found.setdefault(change.place, []).append(change.kind)
    return found
