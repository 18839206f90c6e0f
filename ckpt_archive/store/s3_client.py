"""The one place that makes an AWS SDK client, and the one that turns its errors into ours.

Imported when a store is first asked something, because the SDK takes longer to load than all the rest.
"""

import http.client
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3.session
import botocore.exceptions as sdk
import urllib3.exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError

from ckpt_archive import errors
from ckpt_archive.store import keys, s3_rules
from ckpt_archive.store.bucket import NotSetError, UnderWayError
from ckpt_archive.store.s3_connection import Connection

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SDK_LOGGERS = tuple(logging.getLogger(name) for name in ("boto3", "botocore", "urllib3"))

# botocore raises ValueError for an endpoint that is no URL, and RecursionError when a server redirects every request;
# KeyError is ours, of an answer that lacks what every answer of S3 has.
FOREIGN_ERRORS = (
    sdk.BotoCoreError,
    sdk.ClientError,
    ResponseParserError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
    KeyError,
    RecursionError,
)

_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "UnauthorizedAccess", "401", "403"}
_BAD_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "InvalidSecurity"}
_EXPIRED = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "ExpiredTokenException", "RequestExpired"}
_REFUSED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
_TRANSIENT = {"RequestTimeout", "IncompleteBody", "ConditionalRequestConflict", "OperationAborted", "InternalError"}
_QUOTA = {"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"}
_REDIRECTED = {"PermanentRedirect", "TemporaryRedirect", "Redirect", "IllegalLocationConstraintException"}
_REDIRECTED_HINT = (
    "The server sends us elsewhere: check AWS_REGION, and in AWS_ENDPOINT_URL the host and http or https."
)

_NOT_SET = {
    "NoSuchLifecycleConfiguration",
    "NoSuchObjectLegalHold",
    "NoSuchObjectLockConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "NoSuchTagSet",
    "NoSuchTagSetError",
}
_UNKNOWN_TO_IT = {"NotImplemented", "MethodNotAllowed", "501", "405"}

_SDK_CREDENTIAL_ERRORS = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.TokenRetrievalError,
    sdk.SSOError,
    sdk.ProfileNotFound,
    sdk.InvalidConfigError,
)
_SDK_CONNECTION_ERRORS = (
    sdk.HTTPClientError,
    sdk.ResponseStreamingError,
    sdk.IncompleteReadError,
    ResponseParserError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, for messages.

    Attributes:
        verb: As a participle's object: "create", "read"; what decides what a failed precondition means.
        subject: The key, relative to the archive, or what else it was about.
        url: The archive's.
        upload_id: The multipart upload, if any.
    """

    verb: str
    subject: str
    url: str
    upload_id: str = ""


# How OpenSSL says that what came back was no TLS, or none that it knows.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNSUPPORTED_PROTOCOL", "HTTP_REQUEST")


def make_client(connection: Connection) -> "S3Client":
    """A client that signs, sends once, and leaves retries and checksums to us."""
    try:
        session = boto3.session.Session(profile_name=connection.profile)
    except sdk.ProfileNotFound as error:
        raise errors.InvalidInputError(
            f"{_sentence(error)}", hint="`aws configure list-profiles` lists them."
        ) from error

    def make(s3: Any) -> "S3Client":
        config = Config(
            # One owner of retries: `store.retry`. A conditional create repeated in here would meet itself.
            retries={"total_max_attempts": 1, "mode": "standard"},
            # Our checksums are headers we set ourselves; trailers are refused by Ceph RGW 16.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3=s3,
            connect_timeout=connection.connect_timeout_seconds,
            read_timeout=connection.read_timeout_seconds,
            max_pool_connections=connection.pool_size,
            tcp_keepalive=True,
            user_agent_extra="ckpt-archive",
        )
        made = session.client(
            "s3",
            endpoint_url=connection.endpoint_url,
            aws_access_key_id=connection.access_key,
            aws_secret_access_key=connection.secret_key,
            region_name=connection.region,
            config=config,
        )
        s3_rules.keep_what_is_sent(made)
        return made

    # The signed CRC32C says what the body must be; hashing it once more would cost more than sending it.
    unsigned = {"payload_signing_enabled": False}
    client = make(unsigned)
    host = client.meta.endpoint_url.split("//", 1)[-1]
    configured: dict[str, Any] = client.meta.config.s3 or {}  # type: ignore[attr-defined]
    if "amazonaws." in host or configured.get("addressing_style"):
        return client
    # Buckets as host names need a DNS that knows them; a server of one's own seldom has it.
    client.close()
    return make(unsigned | {"addressing_style": "path"})


def session_credentials(connection: Connection) -> tuple[str, str, str] | None:
    """Access key id, secret and session token ("" for none) as they are at this moment; None if there are none.

    For a library that signs its requests itself.
    """
    if connection.access_key and connection.secret_key:
        return connection.access_key, connection.secret_key, ""
    found = boto3.session.Session().get_credentials()
    if found is None:
        return None
    frozen = found.get_frozen_credentials()
    if not (frozen.access_key and frozen.secret_key):
        return None
    return frozen.access_key, frozen.secret_key, frozen.token or ""


def keep_credentials_out_of_logs() -> None:
    """The SDK logs whole requests at DEBUG, session token included; called before each, as levels may be lowered later."""
    for logger in _SDK_LOGGERS:
        if logger.isEnabledFor(logging.DEBUG):
            logger.setLevel(logging.INFO)


def converted(error: BaseException, request: Request) -> errors.CkptArchiveError:
    """Our error for one of `FOREIGN_ERRORS`; the only place that reads the SDK's."""
    what = f"could not {request.verb} {request.subject} in {request.url}"
    if isinstance(error, sdk.ClientError):
        return _answered(error, request, what)
    if isinstance(error, _SDK_CREDENTIAL_ERRORS):
        return errors.DeniedError(
            f"{what}: {_sentence(error)}",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role.",
        )
    if isinstance(error, sdk.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return errors.DeniedError(
            f"{what}: {_sentence(error)}",
            hint="If the server's certificate is your own authority's, name that in AWS_CA_BUNDLE.",
        )
    if isinstance(error, sdk.SSLError) and any(sign in str(error) for sign in _NOT_TLS):
        return errors.DeniedError(
            f"{what}: {_sentence(error)}",
            hint="The server does not speak TLS there: check whether AWS_ENDPOINT_URL should begin with http:// instead.",
        )
    if isinstance(error, sdk.EndpointConnectionError | sdk.ConnectTimeoutError):
        return errors.UnavailableError(
            f"{what}: {_sentence(error)}", hint="Check AWS_ENDPOINT_URL, AWS_REGION and the network."
        )
    if isinstance(error, RecursionError) or isinstance(getattr(error, "kwargs", {}).get("error"), RecursionError):
        return errors.DeniedError(f"{what}: every answer is a redirect", hint=_REDIRECTED_HINT)
    if isinstance(error, KeyError):
        return errors.UnavailableError(
            f"{what}: the answer has no {error.args[0]}",
            hint="It was not S3 that answered: check AWS_ENDPOINT_URL and proxies.",
        )
    if isinstance(error, _SDK_CONNECTION_ERRORS):
        return errors.UnavailableError(f"{what}: {_sentence(error)}", hint="It is unknown whether it landed.")
    return errors.InvalidInputError(
        f"{what}: {_sentence(error)}", hint="Check the archive's URL, AWS_ENDPOINT_URL and AWS_REGION."
    )


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _answered(error: sdk.ClientError, request: Request, what: str) -> errors.CkptArchiveError:
    """The server answered, and this is what it said."""
    answer: dict[str, Any] = error.response.get("Error", {})  # type: ignore[assignment]
    code = str(answer.get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = ": ".join(text for text in (code, str(answer.get("Message", "")).strip().rstrip(".")) if text)
    what = f"{what}: {said}"
    return (
        _about_what_it_knows(code, status, what)
        or _about_the_object(code, status, request, what)
        or _about_our_rights(code, status, request, what)
        or _about_the_server(code, status, what)
        or errors.InvalidInputError(
            what, hint="The store does not take this request: `ckpt-archive doctor` tells more."
        )
    )


def _about_what_it_knows(code: str, status: int, what: str) -> errors.CkptArchiveError | None:
    """It does not do such things, or not on this bucket; or nobody has set what was asked for."""
    if code in _NOT_SET:
        return NotSetError(what, hint="It was never set.")
    if code in _UNKNOWN_TO_IT or status in (405, 501):
        return errors.UnsupportedError(what, hint="This server does not do that: do without, or use another store.")
    return None


def _about_the_object(code: str, status: int, request: Request, what: str) -> errors.CkptArchiveError | None:
    """It is there and should not be, or the other way round, or it is not what it should be."""
    if code in ("412", "PreconditionFailed"):
        if request.verb in ("create", "complete"):
            return keys.taken(request.subject, request.url)
        return errors.ConflictError(
            f"{request.subject} was replaced while it was read",
            hint="Nothing may replace an object: find out who did, and retry.",
        )
    if code == "NoSuchBucket":
        return errors.NotFoundError(
            f"there is no bucket for {request.url}", hint="Create it, or correct the archive's URL."
        )
    if code == "NoSuchUpload":
        return keys.gone(request.subject, request.upload_id, request.url)
    if code in ("NoSuchKey", "NoSuchVersion") or status == 404:
        if request.upload_id:
            return keys.gone(request.subject, request.upload_id, request.url)
        return keys.missing(request.subject, request.url)
    if code in _REFUSED:
        return errors.ChecksumRefusedError(what, hint="The bytes changed after they were digested, or on the way.")
    if code == "InvalidRange":
        return errors.IntegrityError(what, hint="Its receipt and the object disagree: verify this checkpoint.")
    if code == "RestoreAlreadyInProgress":
        return UnderWayError(what, hint="Wait for it.")
    if code == "InvalidObjectState":
        return errors.ColdError(
            what, hint="It is in a cold storage class: thaw it first (`ckpt-archive thaw RUN STEP`)."
        )
    return None


def _about_our_rights(code: str, status: int, request: Request, what: str) -> errors.CkptArchiveError | None:
    """Trying again does not help until somebody mends them."""
    if code in _QUOTA or status == 507:
        return errors.DeniedError(what, hint="The store is full or its quota is used up: ask the storage owner.")
    if code == "RequestTimeTooSkewed":
        return errors.DeniedError(what, hint="This machine's clock is wrong: set it (NTP).")
    if code in _EXPIRED:
        return errors.DeniedError(what, hint="The credentials have expired: renew them.")
    if code == "400":
        # An answer without a body, as every answer to a HEAD is. S3 says so to one with an expired token.
        return errors.DeniedError(
            what, hint="It does not say why; mostly the credentials have expired: renew them, or see what `ls` is told."
        )
    if code in _BAD_CREDENTIALS:
        return errors.DeniedError(
            what,
            hint="Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE and that they belong to this server.",
        )
    if request.verb == "lock" and (code in _DENIED or status == 403):
        return errors.DeniedError(
            what,
            hint="A lock that stands can only be made longer; or the credentials lack this right: ask the storage owner.",
        )
    if code in _DENIED or status in (401, 403):
        return errors.DeniedError(what, hint="The credentials are known, but lack this right: ask the storage owner.")
    if code in _REDIRECTED or 300 <= status < 400:
        return errors.DeniedError(what, hint=_REDIRECTED_HINT)
    return None


def _about_the_server(code: str, status: int, what: str) -> errors.CkptArchiveError | None:
    """Trying again may help."""
    # HEAD has no body and so no code: S3's only 503 is "slow down" (Amazon S3 API Reference, "Error responses").
    if code in _THROTTLED or code == "503" or status == 429:
        return errors.ThrottledError(what, hint="The store asks for fewer requests.")
    if code in _TRANSIENT or status == 409 or (status >= 500 and status != 501):
        return errors.UnavailableError(what, hint="It is unknown whether it landed.")
    return None
