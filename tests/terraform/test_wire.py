"""Which rights a request needs, as read off the wire."""

import pytest

from ckpt_archive.testing.recorded_wire import Asked, understood


@pytest.mark.parametrize(
    ("method", "target", "action", "key"),
    [
        ("GET", "/b?list-type=2&prefix=p%2Fdata%2F", "s3:ListBucket", "p/data/"),
        ("GET", "/b?versions&prefix=p", "s3:ListBucketVersions", "p"),
        ("GET", "/b?uploads&prefix=p", "s3:ListBucketMultipartUploads", "p"),
        ("GET", "/b?lifecycle", "s3:GetLifecycleConfiguration", ""),
        ("PUT", "/b?lifecycle", "s3:PutLifecycleConfiguration", ""),
        ("DELETE", "/b?lifecycle", "s3:PutLifecycleConfiguration", ""),
        ("GET", "/b?versioning", "s3:GetBucketVersioning", ""),
        ("GET", "/b?object-lock", "s3:GetBucketObjectLockConfiguration", ""),
        ("HEAD", "/b", "s3:ListBucket", ""),
        ("PUT", "/b", "s3:CreateBucket", ""),
        ("GET", "/b/k%2Fa", "s3:GetObject", "k/a"),
        ("HEAD", "/b/k", "s3:GetObject", "k"),
        ("GET", "/b/k?versionId=1", "s3:GetObjectVersion", "k"),
        ("GET", "/b/k?uploadId=1", "s3:ListMultipartUploadParts", "k"),
        ("GET", "/b/k?tagging", "s3:GetObjectTagging", "k"),
        ("PUT", "/b/k?tagging", "s3:PutObjectTagging", "k"),
        ("DELETE", "/b/k?tagging", "s3:DeleteObjectTagging", "k"),
        ("GET", "/b/k?retention", "s3:GetObjectRetention", "k"),
        ("PUT", "/b/k?retention", "s3:PutObjectRetention", "k"),
        ("GET", "/b/k?legal-hold", "s3:GetObjectLegalHold", "k"),
        ("PUT", "/b/k?legal-hold", "s3:PutObjectLegalHold", "k"),
        ("POST", "/b/k?restore", "s3:RestoreObject", "k"),
        ("PUT", "/b/k", "s3:PutObject", "k"),
        ("POST", "/b/k?uploads", "s3:PutObject", "k"),
        ("PUT", "/b/k?uploadId=1&partNumber=1", "s3:PutObject", "k"),
        ("POST", "/b/k?uploadId=1", "s3:PutObject", "k"),
        ("DELETE", "/b/k?uploadId=1", "s3:AbortMultipartUpload", "k"),
        ("DELETE", "/b/k", "s3:DeleteObject", "k"),
        ("DELETE", "/b/k?versionId=1", "s3:DeleteObjectVersion", "k"),
        ("POST", "/b?delete", "s3:DeleteObject", ""),
    ],
)
def test_a_request_needs_a_right(method: str, target: str, action: str, key: str) -> None:
    (asked,) = understood(method, target)
    assert (asked.action, asked.key) == (action, key)


def test_what_goes_along_needs_rights_of_its_own() -> None:
    headers = {"x-amz-tagging": "a=b", "x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-legal-hold": "ON"}
    actions = {asked.action for asked in understood("PUT", "/b/k", headers)}
    assert actions == {"s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectRetention", "s3:PutObjectLegalHold"}
    deleting = understood("DELETE", "/b/k?versionId=1", {"x-amz-bypass-governance-retention": "true"})
    assert [asked.action for asked in deleting] == ["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"]


@pytest.mark.parametrize(
    ("method", "target", "headers", "context"),
    [
        ("PUT", "/b/k", {}, {"s3:ObjectCreationOperation": "true"}),
        ("PUT", "/b/k", {"if-none-match": "*"}, {"s3:ObjectCreationOperation": "true", "s3:if-none-match": "*"}),
        ("POST", "/b/k?uploads", {}, {"s3:ObjectCreationOperation": "false"}),
        ("PUT", "/b/k?uploadId=1&partNumber=1", {}, {"s3:ObjectCreationOperation": "false"}),
        ("POST", "/b/k?uploadId=1", {}, {"s3:ObjectCreationOperation": "true"}),
        ("GET", "/b?list-type=2&prefix=p", {}, {"s3:prefix": "p"}),
        ("GET", "/b?list-type=2", {}, {}),
        ("GET", "/b/k", {}, {}),
    ],
)
def test_conditions_can_ask_about_it(
    method: str, target: str, headers: dict[str, str], context: dict[str, str]
) -> None:
    (asked,) = understood(method, target, headers)
    assert asked.context == context


@pytest.mark.parametrize("status", ["ON", "OFF"])
def test_holding_and_releasing_are_told_apart(status: str) -> None:
    body = f"<LegalHold><Status>{status}</Status></LegalHold>".encode()
    (asked,) = understood("PUT", "/b/k?legal-hold", body=body)
    assert asked.context == {"s3:object-lock-legal-hold": status}
    assert asked == Asked("s3:PutObjectLegalHold", "k")
