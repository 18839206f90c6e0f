"""An archive's place in the words of a library with a client of its own: URL, and options named as `object_store` does.

For `deltalake`, which commits to a table's log. It is given what our own store uses: the AWS SDK finds credentials, region
and endpoint, or `Connection` names them, so nobody has to say anything twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

from ckpt_archive.errors import DeniedError, InvalidInputError
from ckpt_archive.store.s3_connection import Connection


@dataclass(frozen=True, slots=True)
class Location:
    """Where an archive is.

    Attributes:
        url: ``s3://…`` or ``file://…``, without a final '/'.
        options: What the library needs to know beside; holds secrets.
        connection: Which S3 server, if the AWS SDK did not find out itself.
        archive_id: Of the archive that is meant; "" where nobody asked.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    connection: Connection | None = None
    archive_id: str = ""

    def of(self, archive_id: str) -> "Location":
        """The same, for this archive alone: another one may have been made there."""
        return replace(self, archive_id=archive_id)

    def renewed(self) -> "Location":
        """The same with the credentials of this moment, for whoever has worked for hours."""
        return location(self.url, self.connection).of(self.archive_id)


def location(url: str, connection: Connection | None = None) -> Location:
    """The place of an archive; its credentials are those of this moment, and may expire.

    Args:
        url: The archive's.
        connection: Which S3 server, if the AWS SDK is not to find out itself.

    Raises:
        InvalidInputError: If only this process knows the store, or the library would look elsewhere.
        DeniedError: If there are no credentials.
    """
    parts = urlsplit(url)
    # It decodes a path, here once and there twice, so what is encoded for it goes astray as well, perhaps elsewhere.
    if unquote(url) != url or "\\" in url:
        raise InvalidInputError(
            f"{url} can not have an index: there is a '\\', or a '%' before two hexadecimal digits, in its path",
            hint="Everything else works. For an index, copy the archive to a path without these.",
        )
    match parts.scheme:
        case "file":
            return Location(url.rstrip("/"))
        case "s3":
            return Location(url.rstrip("/"), _s3_options(parts.netloc, connection or Connection()), connection)
    raise InvalidInputError(
        f"{url} can not have an index: it is not in a bucket or a folder", hint="Use an s3:// or a file:// archive."
    )


def _s3_options(bucket: str, connection: Connection) -> dict[str, str]:
    # Imported when it is needed: the SDK takes longer to load than all the rest.
    from ckpt_archive.store.s3_client import (  # noqa: PLC0415
        FOREIGN_ERRORS,
        Request,
        converted,
        make_client,
        session_credentials,
    )

    request = Request("find the credentials of", bucket, f"s3://{bucket}")
    try:
        client = make_client(connection)
        try:
            endpoint, region = client.meta.endpoint_url, client.meta.region_name
        finally:
            client.close()
        found = session_credentials(connection)
    except FOREIGN_ERRORS as error:
        raise converted(error, request) from error
    if found is None:
        raise DeniedError(
            f"there are no credentials for s3://{bucket}",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role.",
        )
    access_key, secret_key, token = found
    options = {
        "aws_access_key_id": access_key,
        "aws_secret_access_key": secret_key,
        "aws_region": region or "us-east-1",
        # What makes two commits of one version impossible: `If-None-Match: *`, as everywhere in the archive.
        "aws_conditional_put": "etag",
    }
    if token:
        options["aws_session_token"] = token
    if "amazonaws." not in endpoint:
        options["aws_endpoint_url"] = endpoint
        if endpoint.startswith("http://"):
            options["aws_allow_http"] = "true"
    return options
