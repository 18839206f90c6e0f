"""Which S3 server, and how patiently; values only, so that naming them loads no SDK."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Connection:
    """Where an S3 server is and how it is asked; what is None is left to the AWS SDK's own variables, files and roles.

    Attributes:
        endpoint_url: The server.
        access_key: The access key id.
        secret_key: Its secret.
        region: The region.
        profile: Of the AWS SDK's files: whose credentials are used, also where variables name others.
        pool_size: Most connections at once: at least as many as requests will be in flight.
        connect_timeout_seconds: For a connection to be made.
        read_timeout_seconds: Without a byte of an answer. SeaweedFS answers 500 after 60 s when replicas are missing
            (measured); whoever hangs up before does not know what happened.
    """

    endpoint_url: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    region: str | None = None
    profile: str | None = None
    pool_size: int = 32
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 75.0
