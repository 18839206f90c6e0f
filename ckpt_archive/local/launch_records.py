"""What is written down about a launch on this node. Values and their records only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.names import check_attempt, check_run_name, check_step, check_writers
from ckpt_archive.place import Place
from ckpt_archive.strictjson import Fields, Json


@dataclass(frozen=True, slots=True)
class LocalLaunch:
    """A launch as this node sees it; the values are those of the rank that began it.

    Attributes:
        run: Run name.
        ordinal: Counted from 0 on this node.
        launch_key: Shared by all writers of the launch.
        archive_url: Where promoted checkpoints go; "" if nowhere yet.
        writers: How many writers each checkpoint has.
        started_at: When it began, by this node's clock.
        keep_local: How many complete checkpoints the ring keeps.
        labels: Texts the run was given.
        sources: What feeds the run, as it stands in lineage.
        every: The promotion rule as JSON; empty if nothing is promoted by rule.
        quota_bytes: How much the staging directory may hold; None for no limit.
        policy: Digest of the retention policy in force; "" for none.
        unknown: Members written by a newer release.
    """

    run: str
    ordinal: int
    launch_key: str
    archive_url: str
    writers: int
    started_at: datetime
    keep_local: int = 3
    labels: Mapping[str, Json] = field(default_factory=dict)
    sources: Sequence[Json] = ()
    every: Mapping[str, Json] = field(default_factory=dict)
    quota_bytes: int | None = None
    policy: str = ""
    unknown: Mapping[str, Json] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Canonical bytes."""
        members: dict[str, Json] = {
            "run": self.run,
            "ordinal": self.ordinal,
            "launch_key": self.launch_key,
            "archive_url": self.archive_url,
            "writers": self.writers,
            "started_at": clock.to_text(self.started_at),
            "keep_local": self.keep_local,
            "labels": dict(self.labels),
            "sources": list(self.sources),
            "every": dict(self.every),
            "policy": self.policy,
            **({} if self.quota_bytes is None else {"quota_bytes": self.quota_bytes}),
        }
        return record.encode("local-launch", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "LocalLaunch":
        """Read a launch record.

        Raises:
            IntegrityError: If it is malformed.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("local-launch", data, what)
        launch = cls(
            run=fields.text("run", check_run_name),
            ordinal=fields.number("ordinal", check_attempt),
            launch_key=fields.text("launch_key"),
            archive_url=fields.text("archive_url"),
            writers=fields.number("writers", check_writers),
            started_at=fields.time("started_at"),
            keep_local=fields.number("keep_local"),
            labels=fields.mapping("labels"),
            sources=tuple(fields.items("sources")),
            every=fields.mapping("every"),
            quota_bytes=fields.number("quota_bytes") if fields.has("quota_bytes") else None,
            policy=fields.text("policy"),
        )
        return replace(launch, unknown=fields.rest())


@dataclass(frozen=True, slots=True)
class Resume:
    """From where a launch resumed: decided once, followed by all its ranks.

    Attributes:
        resume_from: The checkpoint; None for a fresh start, or where its attempt has no number yet.
        explicit: Whether somebody chose it (roll-back, fork), rather than "the latest".
        source: Where the bytes came from: "ring", "archive", or "" for a fresh start.
        from_ring: (local launch ordinal, step) of the checkpoint in this node's ring; None if it was not there.
    """

    resume_from: Place | None
    explicit: bool
    source: str
    from_ring: tuple[int, int] | None = None

    def encode(self) -> bytes:
        """Canonical bytes."""
        members: dict[str, Json] = {"explicit": self.explicit, "source": self.source}
        if self.resume_from is not None:
            members["resume_from"] = self.resume_from.to_json()
        if self.from_ring is not None:
            members["from_ring"] = {"launch": self.from_ring[0], "step": self.from_ring[1]}
        return record.encode("local-resume", members, {})

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Resume":
        """Read it back.

        Raises:
            IntegrityError: If it is malformed.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("local-resume", data, what)
        place = Place.from_json(Fields(fields.mapping("resume_from"), what)) if fields.has("resume_from") else None
        ring = Fields(fields.mapping("from_ring"), what) if fields.has("from_ring") else None
        return cls(
            resume_from=place,
            explicit=fields.flag("explicit"),
            source=fields.text("source"),
            from_ring=None if ring is None else (ring.number("launch", check_attempt), ring.number("step", check_step)),
        )


@dataclass(frozen=True, slots=True)
class LocalAttempt:
    """Which attempt of which archive a launch became.

    Attributes:
        archive_id: The archive.
        attempt: The number there.
        late: Whether it could only be numbered after it had ended, while others had appeared.
    """

    archive_id: str
    attempt: int
    late: bool

    def encode(self) -> bytes:
        """Canonical bytes."""
        members: dict[str, Json] = {"archive": self.archive_id, "attempt": self.attempt, "late": self.late}
        return record.encode("local-attempt", members, {})

    @classmethod
    def decode(cls, data: bytes, what: str) -> "LocalAttempt":
        """Read it back.

        Raises:
            IntegrityError: If it is malformed.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("local-attempt", data, what)
        return cls(fields.text("archive"), fields.number("attempt", check_attempt), fields.flag("late"))
