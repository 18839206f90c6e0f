"""Any S3 API as a store. One request per call, nothing retried, no body ever held whole.

What each known server does differently, and what is done about it, is in `docs/servers.md`.
"""

import base64
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ckpt_archive.digest import crc32c_base64
from ckpt_archive.errors import UnavailableError, UploadGoneError
from ckpt_archive.store import keys, s3_wire
from ckpt_archive.store.body import Body
from ckpt_archive.store.protocol import Listing, ObjectInfo, PartInfo, Sink, StoredBytes, StoreLimits, UploadInfo
from ckpt_archive.store.s3_connection import Connection

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# One per transfer under way. Larger ones gained nothing; it fits any processor's cache.
_BUFFER_BYTES = 256 << 10

# More than SeaweedFS needs to get on (it repeats a page of one for ever), and S3's own largest.
_PAGE = 1000


class S3Store:
    """A prefix of a bucket. Any number of threads may use it.

    Credentials, region and endpoint are the AWS SDK's own affair (its variables, files and roles) unless `connection`
    names them. The SDK is loaded and the client made at the first request.

    Args:
        bucket: Its name.
        prefix: What all keys begin with in the bucket; "" for the whole bucket.
        connection: Which server, if the SDK is not to find out itself.
        limits: Sizes and counts it accepts.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        connection: Connection | None = None,
        limits: StoreLimits | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._connection = connection or Connection()
        self._limits = limits or StoreLimits()
        self._lock = threading.Lock()
        self._client: S3Client | None = None

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def limits(self) -> StoreLimits:
        """See `Store.limits`."""
        return self._limits

    @property
    def client(self) -> "S3Client":
        """The SDK's client, for what is no verb of a store: probes, lifecycle rules, creating a bucket."""
        with self._lock:
            if self._client is None:
                from ckpt_archive.store import s3_client  # noqa: PLC0415 - the SDK loads when it is needed

                self._client = s3_client.make_client(self._connection)
            return self._client

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    def full_key(self, key: str) -> str:
        """The key in the bucket."""
        return keys.full(self._prefix, key)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def create(self, key: str, body: Body) -> ObjectInfo:
        """See `Store.create`."""
        keys.check_key(key)
        keys.check_size(body.size_bytes, key, self._limits)
        with self.asking("create", key, body=body) as (client, reader):
            answer = client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=reader,
                ContentLength=body.size_bytes,
                ChecksumCRC32C=crc32c_base64(body.crc32c),
                IfNoneMatch="*",
            )
            return ObjectInfo(key, body.size_bytes, _etag(answer))

    def read(self, key: str, *, limit_bytes: int) -> StoredBytes:
        """See `Store.read`."""
        with self.asking("read", key) as (client, _):
            answer = client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            info = _info(key, answer)
            with closing(answer["Body"]) as stream:
                keys.check_small(info, limit_bytes)
                # Raises when it is shorter than was announced.
                return StoredBytes(info, stream.read())

    def fetch(self, key: str, *, offset: int, length: int, etag: str | None, sink: Sink) -> None:
        """See `Store.fetch`."""
        if length == 0:
            # S3 knows no empty range.
            info = self.head(key)
            keys.check_current(info, etag)
            keys.check_range(info, offset, length)
            return
        condition: dict[str, Any] = {} if etag is None else {"IfMatch": f'"{etag}"'}
        with self.asking("read", key) as (client, _):
            answer = client.get_object(
                Bucket=self._bucket,
                Key=self.full_key(key),
                Range=f"bytes={offset}-{offset + length - 1}",
                **condition,
            )
            sent = answer["ContentLength"]
        with closing(s3_wire.Receiving(answer["Body"])) as receiving:
            # A range that reaches over the end is cut short by S3.
            keys.check_range(ObjectInfo(key, offset + sent, etag or ""), offset, length)
            buffer = memoryview(bytearray(min(_BUFFER_BYTES, length)))
            received = 0
            while received < length:
                with self.asking("read", key):
                    count = receiving.read_into(buffer[: length - received])
                if not count:
                    raise UnavailableError(
                        f"the answer with {key} from {self.url} broke off after {received} of {length} bytes",
                        hint="Read the rest again.",
                    )
                received += count
                # Outside the request: what goes wrong in there is not the store's.
                sink(buffer[:count])

    def head(self, key: str) -> ObjectInfo:
        """See `Store.head`."""
        with self.asking("find", key) as (client, _):
            return _info(key, client.head_object(Bucket=self._bucket, Key=self.full_key(key)))

    def list(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = 1000,
        start_after: str = "",
    ) -> Listing:
        """See `Store.list`."""
        wanted: dict[str, Any] = {"MaxKeys": keys.page_size(limit)}
        if delimiter:
            wanted["Delimiter"] = delimiter
        if token is not None:
            wanted["ContinuationToken"] = token
        if start_after:
            wanted["StartAfter"] = self._prefix + start_after
        with self.asking("list", prefix or "everything") as (client, _):
            answer = client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + prefix, **wanted)
            skip = len(self._prefix)
            return Listing(
                objects=tuple(
                    ObjectInfo(
                        item["Key"][skip:],
                        item["Size"],
                        _etag(item),
                        item["LastModified"],
                        _storage_class(item.get("StorageClass", "")),
                    )
                    for item in answer.get("Contents", ())
                ),
                prefixes=tuple(item["Prefix"][skip:] for item in answer.get("CommonPrefixes", ())),
                next_token=answer.get("NextContinuationToken") if answer["IsTruncated"] else None,
                store_time=self._store_time(answer),
            )

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        with self.asking("delete", key) as (client, _):
            client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def start_upload(self, key: str) -> str:
        """See `Store.start_upload`."""
        keys.check_key(key)
        with self.asking("start the upload of", key) as (client, _):
            answer = client.create_multipart_upload(
                Bucket=self._bucket,
                Key=self._prefix + key,
                # AWS refuses a part's CRC32C unless it was announced here. Of the whole object, because for the other type
                # it would refuse a completion that does not repeat the CRC of every part, and not every store lists them.
                ChecksumAlgorithm="CRC32C",
                ChecksumType="FULL_OBJECT",
            )
            return answer["UploadId"]

    def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> PartInfo:
        """See `Store.upload_part`."""
        keys.check_part_number(number, key, self._limits)
        keys.check_size(body.size_bytes, key, self._limits)
        with self.asking(f"send part {number} of", key, upload_id=upload_id, body=body) as (client, reader):
            answer = client.upload_part(
                Bucket=self._bucket,
                Key=self._prefix + key,
                UploadId=upload_id,
                PartNumber=number,
                Body=reader,
                ContentLength=body.size_bytes,
                ChecksumCRC32C=crc32c_base64(body.crc32c),
            )
            return PartInfo(number, body.size_bytes, _etag(answer), body.crc32c)

    def complete_upload(self, key: str, upload_id: str, parts: tuple[PartInfo, ...]) -> None:
        """See `Store.complete_upload`."""
        with self.asking("complete", key, upload_id=upload_id) as (client, _):
            client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._prefix + key,
                UploadId=upload_id,
                # Believed by nobody, as some servers let several win or ignore it; but a bucket policy may ask for it.
                IfNoneMatch="*",
                MultipartUpload={"Parts": [_completed(part) for part in parts]},
            )

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        with suppress(UploadGoneError), self.asking("abort", key, upload_id=upload_id) as (client, _):
            client.abort_multipart_upload(Bucket=self._bucket, Key=self._prefix + key, UploadId=upload_id)

    def list_uploads(self, prefix: str) -> tuple[UploadInfo, ...]:
        """See `Store.list_uploads`."""
        found: dict[tuple[str, str], UploadInfo] = {}
        markers: dict[str, str] = {}
        while True:
            with self.asking("list the uploads of", prefix or "everything") as (client, _):
                answer = client.list_multipart_uploads(
                    Bucket=self._bucket,
                    Prefix=self._prefix + prefix,
                    MaxUploads=_PAGE,
                    **markers,  # type: ignore[arg-type]
                )
                is_last = not answer["IsTruncated"]
            for item in answer.get("Uploads", ()):
                key, upload_id = item["Key"][len(self._prefix) :], item["UploadId"]
                if key.startswith(prefix):
                    found[key, upload_id] = UploadInfo(key, upload_id, item.get("Initiated"))
            following = {
                "KeyMarker": answer.get("NextKeyMarker", ""),
                "UploadIdMarker": answer.get("NextUploadIdMarker", ""),
            }
            if is_last or following == markers:
                return tuple(found[at] for at in sorted(found))
            markers = following

    def list_parts(self, key: str, upload_id: str) -> tuple[PartInfo, ...]:
        """See `Store.list_parts`."""
        found: dict[int, tuple[datetime, PartInfo]] = {}
        marker = 0
        while True:
            with self.asking("list the parts of", key, upload_id=upload_id) as (client, _):
                answer = client.list_parts(
                    Bucket=self._bucket,
                    Key=self._prefix + key,
                    UploadId=upload_id,
                    MaxParts=_PAGE,
                    **({"PartNumberMarker": marker} if marker else {}),  # type: ignore[arg-type]
                )
                is_last = not answer["IsTruncated"]
            for item in answer.get("Parts", ()):
                number, sent = item["PartNumber"], item["LastModified"]
                # SeaweedFS shows a part that was sent again twice, in no order.
                if number not in found or sent >= found[number][0]:
                    crc = item.get("ChecksumCRC32C")
                    found[number] = sent, PartInfo(number, item["Size"], _etag(item), _crc_number(crc) if crc else None)
            following = int(answer.get("NextPartNumberMarker") or 0)
            if is_last or following == marker:
                return tuple(found[number][1] for number in sorted(found))
            marker = following

    @contextmanager
    def asking(
        self, verb: str, subject: str, *, upload_id: str = "", body: Body | None = None
    ) -> Iterator[tuple["S3Client", Any]]:
        """The SDK's client and the body as it wants it, for one request; what goes wrong in here comes out as our error.

        Args:
            verb: What the request does to `subject`, for messages.
            subject: A key, or what else it is about.
            upload_id: The upload it is about, if any.
            body: What it carries, if anything.
        """
        from ckpt_archive.store import s3_client  # noqa: PLC0415 - the SDK loads when it is needed

        s3_client.keep_credentials_out_of_logs()
        sending = s3_wire.Sending(body or Body((), 0))
        try:
            yield self.client, sending
        except s3_client.FOREIGN_ERRORS as error:
            if sending.failure is not None:
                # The local file was at fault, and the SDK has only wrapped that.
                raise sending.failure from error
            request = s3_client.Request(verb, subject, self.url, upload_id)
            raise s3_client.converted(error, request) from error

    def _store_time(self, answer: Any) -> datetime:
        try:
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        except (KeyError, ValueError) as error:
            raise UnavailableError(
                f"{self.url} answered without a readable Date header", hint="A proxy in between may have removed it."
            ) from error


def _crc_number(text: str) -> int:
    return int.from_bytes(base64.b64decode(text), "big")


def _etag(answer: Any) -> str:
    return str(answer["ETag"]).strip('"')


def _storage_class(name: str) -> str:
    return "" if name == "STANDARD" else name


def _info(key: str, answer: Any) -> ObjectInfo:
    return ObjectInfo(
        key,
        answer["ContentLength"],
        _etag(answer),
        answer.get("LastModified"),
        _storage_class(answer.get("StorageClass", "")),
    )


def _completed(part: PartInfo) -> Any:
    named: dict[str, Any] = {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
    # MinIO refuses a completion without them; others do not mind.
    return named if part.crc32c is None else named | {"ChecksumCRC32C": crc32c_base64(part.crc32c)}
