"""The roles of the module as policies for one bucket, and what none of them may do but those that are named."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ckpt_archive.testing.iam import Decision, Request, decide, is_like
from ckpt_archive.testing.recorded_wire import Asked
from tests.terraform.module import rendered

THE_BUCKET = "the bucket"

# Granted without having been seen here, and why.
UNSEEN: Mapping[tuple[str, str, str], str] = {
    ("job", "s3:AbortMultipartUpload", "data/RUN/*"): "an upload that somebody else has ended meanwhile is given up",
    ("job", "s3:GetObject", "log/pending/*"): "an announcement whose answer was lost is read back",
    ("job", "s3:PutObject", "runs/RUN/decisions/*"): "many writers agree on what is archived or given up",
    ("maintainer", "s3:PutObject", "manifests/*"): "a commit is finished half an hour after its committer died",
    ("maintainer", "s3:DeleteObject", "index/*"): "vacuum removes files that were replaced days ago",
    ("maintainer", "s3:DeleteObject", "retention/*"): "marks of past days are forgotten",
    (
        "maintainer",
        "s3:DeleteObjectTagging",
        "data/*",
    ): "an end is taken back if the checkpoint is among the newest again",
    ("auditor", "s3:GetObject", "policy/*"): "the texts of policies are evidence, read with any client",
}

ROLES = ("job", "maintainer", "auditor", "restorer", "lifecycle_admin", "eraser")

_ACCOUNT = "111122223333"
_TLS = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
_NEW = {"s3:ObjectCreationOperation": "true", "s3:if-none-match": "*"}
_OVER = {"s3:ObjectCreationOperation": "true"}
_PART = {"s3:ObjectCreationOperation": "false"}
KEY_ARN = f"arn:aws:kms:eu-central-1:{_ACCOUNT}:key/00000000-0000-0000-0000-000000000000"


def arn(role: str) -> str:
    """Of a role, as the module names it."""
    return f"arn:aws:iam::{_ACCOUNT}:role/ckpt-archive-{role.replace('_', '-')}"


ADMINISTRATOR = f"arn:aws:iam::{_ACCOUNT}:role/terraform"


@dataclass(frozen=True, slots=True)
class Rights:
    """All policies of one archive, as `main.tf` and `iam.tf` put them together.

    Attributes:
        bucket: The bucket's name.
        prefix: "" or ending in a slash.
        owns_rules: Whether `ckpt-archive` writes the lifecycle rules.
        job_runs: Pattern of the runs that the job role may write.
    """

    bucket: str
    prefix: str
    owns_rules: bool = False
    job_runs: str = "run-a"

    @property
    def bucket_arn(self) -> str:
        """Of the bucket."""
        return f"arn:aws:s3:::{self.bucket}"

    def identity(self, role: str) -> list[Mapping[str, Any]]:
        """The policies of a role."""
        policies: list[Mapping[str, Any]] = [
            rendered(f"{role}.json.tftpl", bucket_arn=self.bucket_arn, prefix=self.prefix, job_runs=self.job_runs)
        ]
        if role == "lifecycle_admin" and self.owns_rules:
            rule = {"Effect": "Allow", "Action": "s3:PutLifecycleConfiguration", "Resource": self.bucket_arn}
            policies.append({"Version": "2012-10-17", "Statement": [rule]})
        return policies

    def granted(self, role: str) -> set[tuple[str, str]]:
        """Each right of a role, and where it has it: a pattern below the archive's prefix, or "the bucket"."""
        return {
            (action, self._where(pattern))
            for policy in self.identity(role)
            for statement in policy["Statement"]
            if statement["Effect"] == "Allow"
            for action in _many(statement["Action"])
            for pattern in _many(statement["Resource"])
        }

    def _where(self, pattern: str) -> str:
        if pattern == self.bucket_arn:
            return THE_BUCKET
        below = pattern.removeprefix(f"{self.bucket_arn}/{self.prefix}")
        assert below != pattern
        return below.replace(f"/{self.job_runs}/", "/RUN/")

    def is_about(self, asked: Asked, where: str) -> bool:
        """Whether a request is about something that `granted` names."""
        if where == THE_BUCKET or asked.of_bucket:
            return asked.of_bucket and where == THE_BUCKET
        return is_like(asked.key, self.prefix + where.replace("/RUN/", f"/{self.job_runs}/"))

    def of_bucket(self) -> list[Mapping[str, Any]]:
        """The bucket's policies."""
        writers = [ADMINISTRATOR, arn("lifecycle_admin")] if self.owns_rules else [ADMINISTRATOR]
        return [
            rendered(
                "bucket.json.tftpl",
                bucket_arn=self.bucket_arn,
                prefix=self.prefix,
                administrators=[ADMINISTRATOR],
                writers_of_rules=writers,
                deleters=[arn("eraser")],
                index_deleters=[arn("eraser"), arn("maintainer")],
                keepers=[arn("lifecycle_admin"), arn("maintainer")],
                eraser=arn("eraser"),
            ),
            rendered("bucket-key.json.tftpl", bucket_arn=self.bucket_arn, kms_arn=KEY_ARN),
        ]

    def decide(self, role: str, asked: Asked, context: Mapping[str, str] | None = None) -> Decision:
        """What happens when a role asks for something; keys are those of the bucket."""
        resource = self.bucket_arn if asked.of_bucket else f"{self.bucket_arn}/{asked.key}"
        request = Request(asked.action, resource, arn(role), {**_TLS, **asked.context, **(context or {})})
        return decide(request, identity=self.identity(role), resource=self.of_bucket())

    def decide_for_owner(self, asked: Asked) -> Decision:
        """The same for somebody whose own policies allow everything: what the bucket's alone says."""
        resource = self.bucket_arn if asked.of_bucket else f"{self.bucket_arn}/{asked.key}"
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        return decide(
            Request(asked.action, resource, f"arn:aws:iam::{_ACCOUNT}:user/owner", {**_TLS, **asked.context}),
            identity=[{"Version": "2012-10-17", "Statement": [everything]}],
            resource=self.of_bucket(),
        )


def _many(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Something that a role must not do.

    Attributes:
        what: For people.
        asked: The request; keys below the archive's prefix, "" for the bucket itself.
        roles: Those that may do it all the same.
        by_bucket: Whether the bucket denies it even to those whose own policies allow everything.
        outside: Whether the key is not below the prefix.
    """

    what: str
    asked: Asked
    roles: frozenset[str] = frozenset()
    by_bucket: bool = False
    outside: bool = False


def _object(
    what: str,
    action: str,
    key: str,
    roles: Iterable[str] = (),
    *,
    context: Mapping[str, str] = MappingProxyType({}),
    by_bucket: bool = False,
    outside: bool = False,
) -> Forbidden:
    return Forbidden(what, Asked(f"s3:{action}", key, context=context), frozenset(roles), by_bucket, outside)


def _bucket(
    what: str, action: str, roles: Iterable[str] = (), *, by_bucket: bool = False, prefix: str = ""
) -> Forbidden:
    context = {"s3:prefix": prefix} if prefix else {}
    return Forbidden(what, Asked(f"s3:{action}", prefix, True, context), frozenset(roles), by_bucket)


_DATA = "data/run-a/00000000/000000000100/00000/2f4d"
_OTHERS = "data/run-b/00000000/000000000100/00000/2f4d"
_STATEMENTS = "runs/run-a/retention/99999999/999999999899/"
_KEEPERS = ("maintainer", "lifecycle_admin")
_WRITTEN_ONCE = (
    "archive.json",
    _DATA,
    "receipts/run-a/00000000/000000000100/00000.json",
    "manifests/run-a/99999999/999999999899.json",
    "runs/run-a/attempts/99999999.json",
    _STATEMENTS + "0000-ends-20270203-daily.365d.json",
    "log/pending/2026/03/01/12/x.json",
    "log/events/2026/03/01/x.json",
    "log/seq/00000000000000000001",
    "policy/2f4d.toml",
)

FORBIDDEN = (
    *(
        _object(f"overwrite {key.split('/')[0]}", "PutObject", key, context=_OVER, by_bucket=True)
        for key in _WRITTEN_ONCE
    ),
    *(
        _object(
            f"delete {key.split('/')[0]}",
            "DeleteObject",
            key,
            ["eraser"] if key == _DATA else [],
            by_bucket=True,
        )
        for key in _WRITTEN_ONCE
    ),
    _object("delete a version of data", "DeleteObjectVersion", _DATA, ["eraser"], by_bucket=True),
    _object("delete a version of a manifest", "DeleteObjectVersion", _WRITTEN_ONCE[3], by_bucket=True),
    _object("delete a file of the index", "DeleteObject", "index/runs/x.parquet", ["maintainer"], by_bucket=True),
    _object("delete a version of the index", "DeleteObjectVersion", "index/runs/x.parquet", by_bucket=True),
    _object("delete from another archive", "DeleteObject", "other/data/run-a/x", outside=True),
    _object("tag data", "PutObjectTagging", _DATA, _KEEPERS, by_bucket=True),
    _object("remove the tags of data", "DeleteObjectTagging", _DATA, _KEEPERS, by_bucket=True),
    _object("tag a manifest", "PutObjectTagging", _WRITTEN_ONCE[3]),
    _object("lock data", "PutObjectRetention", _DATA, _KEEPERS, by_bucket=True),
    _object(
        "hold data",
        "PutObjectLegalHold",
        _DATA,
        _KEEPERS,
        context={"s3:object-lock-legal-hold": "ON"},
        by_bucket=True,
    ),
    _object(
        "release held data",
        "PutObjectLegalHold",
        _DATA,
        ["lifecycle_admin"],
        context={"s3:object-lock-legal-hold": "OFF"},
        by_bucket=True,
    ),
    _object("get round a governance lock", "BypassGovernanceRetention", _DATA, ["eraser"], by_bucket=True),
    _object("make data public", "PutObjectAcl", _DATA),
    _object("read data", "GetObject", _DATA, ["job", "restorer"]),
    _object("read data of another run", "GetObject", _OTHERS, ["restorer"]),
    _object("read an old version of data", "GetObjectVersion", _DATA),
    _object("read from another archive", "GetObject", "other/data/run-a/x", outside=True),
    _object("write data", "PutObject", _DATA, ["job"], context=_NEW),
    _object("write data of another run", "PutObject", _OTHERS, context=_NEW),
    _object("send a part of data of another run", "PutObject", _OTHERS, context=_PART),
    _object("break off an upload of another run", "AbortMultipartUpload", _OTHERS, ["eraser"]),
    _object(
        "write a receipt of another run", "PutObject", "receipts/run-b/00000000/000000000100/00000.json", context=_NEW
    ),
    _object(
        "commit a checkpoint of another run",
        "PutObject",
        "manifests/run-b/99999999/999999999899.json",
        ["maintainer"],
        context=_NEW,
    ),
    _object("write into another archive", "PutObject", "other/data/run-a/x", context=_NEW, outside=True),
    _object("write the archive's record", "PutObject", "archive.json", context=_NEW),
    _object("seal the log", "PutObject", "log/seq/00000000000000000002", ["maintainer"], context=_NEW),
    _object("write the index", "PutObject", "index/runs/x.parquet", ["maintainer"], context=_NEW),
    _object("put a policy in force", "PutObject", "policy/applied/99999998.json", ["lifecycle_admin"], context=_NEW),
    _object("announce an end", "PutObject", _STATEMENTS + "0001-ends-20270203-a.1d.json", _KEEPERS, context=_NEW),
    _object("state a hold", "PutObject", _STATEMENTS + "case-A-0001-held.json", ["lifecycle_admin"], context=_NEW),
    _object(
        "state the release of a hold",
        "PutObject",
        _STATEMENTS + "case-A-0002-released.json",
        ["lifecycle_admin"],
        context=_NEW,
    ),
    _object("assign a class", "PutObject", _STATEMENTS + "class-0001-trash.json", ["lifecycle_admin"], context=_NEW),
    _object("thaw data", "RestoreObject", _DATA, ["restorer"]),
    _object(
        "write with another key",
        "PutObject",
        _DATA,
        context={**_NEW, "s3:x-amz-server-side-encryption-aws-kms-key-id": f"{KEY_ARN}0"},
        by_bucket=True,
    ),
    _object(
        "write with weaker encryption",
        "PutObject",
        _DATA,
        context={**_NEW, "s3:x-amz-server-side-encryption": "AES256"},
        by_bucket=True,
    ),
    _object("read without TLS", "GetObject", "archive.json", context={"aws:SecureTransport": "false"}, by_bucket=True),
    _object("read with TLS 1.1", "GetObject", "archive.json", context={"s3:TlsVersion": "1.1"}, by_bucket=True),
    _bucket("list another archive", "ListBucket", prefix="other/data/"),
    _bucket("list old versions", "ListBucketVersions", ["lifecycle_admin", "eraser"], prefix="main/data/"),
    _bucket("write lifecycle rules", "PutLifecycleConfiguration", by_bucket=True),
    *(
        _bucket(what, action, by_bucket=True)
        for what, action in (
            ("replace the bucket's policy", "PutBucketPolicy"),
            ("remove the bucket's policy", "DeleteBucketPolicy"),
            ("suspend versioning", "PutBucketVersioning"),
            ("change Object Lock", "PutBucketObjectLockConfiguration"),
            ("change the encryption", "PutEncryptionConfiguration"),
            ("change the replication", "PutReplicationConfiguration"),
            ("open the bucket to the public", "PutBucketPublicAccessBlock"),
            ("bring back ACLs", "PutBucketOwnershipControls"),
            ("write the bucket's ACL", "PutBucketAcl"),
            ("switch off access logs", "PutBucketLogging"),
            ("remove the bucket", "DeleteBucket"),
        )
    ),
    _bucket("see the bucket's policy", "GetBucketPolicy"),
)
