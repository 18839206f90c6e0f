"""Which policy is in force: numbered records, each written once, the newest lists first.

The text of a policy is stored before the record that puts it into force, so whoever reads the record finds the text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ckpt_archive import clock, record
from ckpt_archive.commit import layout
from ckpt_archive.commit.writeonce import create_once, read_record
from ckpt_archive.digest import sha256_hex
from ckpt_archive.errors import AlreadyExistsError, ConflictError, IntegrityError, NotFoundError
from ckpt_archive.names import check_sha256
from ckpt_archive.retention.policy.file import decode, load
from ckpt_archive.retention.policy.values import Policy
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Store
from ckpt_archive.strictjson import Fields, Json

TRANSITIONS = "transitions"
"""Limit of a store: it moves nothing to other storage classes."""


@dataclass(frozen=True, slots=True)
class Applied:
    """That a policy was put into force.

    Attributes:
        archive_id: The archive it belongs to.
        number: From 1; the largest counts.
        policy: SHA-256 of the policy's text.
        name: Of the preset, or of the file.
        plan: The id of the plan with which that was done.
        applied_at: When, by the clock of whoever did it.
        by: Who; "" if nobody says.
        limits: What the store turned out not to do, such as `TRANSITIONS`; sorted.
        unknown: Members written by a newer release.
    """

    archive_id: str
    number: int
    policy: str
    name: str
    plan: str
    applied_at: datetime
    by: str = ""
    limits: tuple[str, ...] = ()
    unknown: Mapping[str, Json] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Canonical bytes."""
        members: dict[str, Json] = {
            "archive": self.archive_id,
            "number": self.number,
            "policy": check_sha256(self.policy),
            "name": self.name,
            "plan": self.plan,
            "applied_at": clock.to_text(self.applied_at),
            "by": self.by,
            "limits": list(self.limits),
        }
        return record.encode("applied", members, self.unknown)

    @classmethod
    def decode(cls, data: bytes, what: str) -> "Applied":
        """Read it.

        Raises:
            IntegrityError: If it is malformed.
            InvalidInputError: If it needs a newer release.
        """
        fields = record.decode("applied", data, what)
        decoded = cls(
            archive_id=fields.text("archive"),
            number=fields.number("number"),
            policy=fields.text("policy", check_sha256),
            name=fields.text("name"),
            plan=fields.text("plan"),
            applied_at=fields.time("applied_at"),
            by=fields.text("by"),
            limits=_texts(fields, "limits"),
        )
        return replace(decoded, unknown=fields.rest())


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    items = fields.items(name)
    if not all(isinstance(item, str) for item in items):
        fields.refuse(f"{name} has items that are no texts")
    return tuple(items)


@dataclass(frozen=True, slots=True)
class InForce:
    """What is in force.

    Attributes:
        applied: The newest record; None if no policy was ever put into force.
        store_time: The store's clock when it was asked.
    """

    applied: Applied | None
    store_time: datetime

    @property
    def number(self) -> int:
        """Of the newest record; 0 for none."""
        return self.applied.number if self.applied is not None else 0

    def is_policy(self, policy: Policy) -> bool:
        """Whether it is this policy."""
        return self.applied is not None and self.applied.policy == policy.sha256

    @property
    def limits(self) -> tuple[str, ...]:
        """What the store is known not to do."""
        return self.applied.limits if self.applied is not None else ()


def read_in_force(store: Store, archive_id: str) -> InForce:
    """Which policy is in force: one listing, and one read if there is any.

    Raises:
        IntegrityError: If the record is malformed, or of another archive.
        InvalidInputError: If it needs a newer release.
    """
    page = store.list(layout.APPLIED, limit=1)
    if not page.objects:
        return InForce(None, page.store_time)
    key = page.objects[0].key
    applied = Applied.decode(read_record(store, key).data, key)
    if (applied.archive_id, applied.number) != (archive_id, layout.policy_applied_number(key)):
        raise IntegrityError(
            f"{key} says that it is number {applied.number} of the archive {applied.archive_id}",
            hint="Somebody copied or renamed objects of the archive: put them back.",
        )
    return InForce(applied, page.store_time)


def read_policy(store: Store, applied: Applied) -> Policy:
    """The policy that a record names.

    Raises:
        IntegrityError: If its text is missing, or is another one.
        InvalidInputError: If it needs a newer release.
    """
    key = layout.policy(applied.policy)
    hint = "It was changed or removed after it was applied: apply the policy again."
    try:
        data = read_record(store, key).data
    except NotFoundError as error:
        raise IntegrityError(f"{key}, the policy in force, is missing", hint=hint) from error
    if sha256_hex(data) != applied.policy:
        raise IntegrityError(f"{key}, the policy in force, has the SHA-256 {sha256_hex(data)}", hint=hint)
    return load(decode(data, key), applied.name)


def policy_in_force(store: Store, archive_id: str) -> Policy | None:
    """The policy in force; None before one was ever applied. Costs one listing, then two reads. Raises as `read_policy`."""
    applied = read_in_force(store, archive_id).applied
    return None if applied is None else read_policy(store, applied)


def store_text(store: Store, policy: Policy) -> None:
    """Store a policy's text, if it is not there."""
    data = policy.text.encode()
    if create_once(store, layout.policy(policy.sha256), data) not in (None, data):
        raise ConflictError(
            f"{layout.policy(policy.sha256)} has other bytes than the policy",
            hint="Somebody wrote it who is none of ours: have the storage owner remove it.",
        )


def put_in_force(store: Store, applied: Applied) -> None:
    """Record that a policy, whose text is stored, is in force.

    Raises:
        ConflictError: If somebody else has put another one into force meanwhile.
    """
    key = layout.policy_applied(applied.number)
    data = applied.encode()
    try:
        store.create(key, Body.of(data))
    except AlreadyExistsError as error:
        found = Applied.decode(read_record(store, key).data, key)
        if (found.policy, found.limits) != (applied.policy, applied.limits):
            raise ConflictError(
                f"{found.by or 'somebody'} has put the policy {found.name!r} into force at the same time",
                hint="Agree on one, then make a new plan.",
            ) from error
