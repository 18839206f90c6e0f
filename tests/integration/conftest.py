"""Real servers on loopback: one SeaweedFS and one moto per test process, started when the first test asks for them."""

import itertools
import os
from collections.abc import Callable, Iterator

import pytest
from moto.server import ThreadedMotoServer

from ckpt_archive.devserver import REGION, DevServer
from ckpt_archive.store.s3 import S3Store
from ckpt_archive.store.s3_connection import Connection

MOTO_BUCKET = "moto-archive"
LOCKED_BUCKET = "locked-archive"
"""With versions and Object Lock, on either server."""

MakeStore = Callable[[], S3Store]


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A SeaweedFS of this process (with pytest-xdist: of this worker), with one bucket. Leave it running."""
    server = DevServer(str(tmp_path_factory.mktemp("seaweed")))
    yield server
    # Nobody needs its data any more, so it need not take leave.
    server.kill()


@pytest.fixture
def seaweed_connection(seaweed: DevServer) -> Connection:
    """How to reach it without touching the environment."""
    return Connection(seaweed.endpoint_url, seaweed.access_key, seaweed.secret_key, REGION)


@pytest.fixture(scope="session")
def moto_connection() -> Iterator[Connection]:
    """A moto server of this process, with the bucket `MOTO_BUCKET`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    connection = Connection(f"http://{host}:{port}", "moto", "moto", REGION)
    store = S3Store(MOTO_BUCKET, connection=connection)
    store.client.create_bucket(Bucket=MOTO_BUCKET)
    store.close()
    yield connection
    server.stop()


@pytest.fixture
def new_prefix(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes a prefix that no other test uses: buckets cost SeaweedFS volumes, prefixes cost nothing."""
    numbers = itertools.count()
    test = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:80]
    return lambda: f"{test}-{os.urandom(4).hex()}/{next(numbers)}"


@pytest.fixture
def make_seaweed_store(
    seaweed: DevServer, seaweed_connection: Connection, new_prefix: Callable[[], str]
) -> Iterator[MakeStore]:
    """Makes stores on SeaweedFS, each empty."""
    yield from _making(seaweed.bucket, seaweed_connection, new_prefix)


@pytest.fixture
def make_moto_store(moto_connection: Connection, new_prefix: Callable[[], str]) -> Iterator[MakeStore]:
    """Makes stores on moto, each empty."""
    yield from _making(MOTO_BUCKET, moto_connection, new_prefix)


@pytest.fixture(scope="session")
def locked_on_seaweed(seaweed: DevServer) -> Connection:
    """SeaweedFS with the bucket `LOCKED_BUCKET`."""
    connection = Connection(seaweed.endpoint_url, seaweed.access_key, seaweed.secret_key, REGION)
    return _with_locked_bucket(connection)


@pytest.fixture(scope="session")
def locked_on_moto(moto_connection: Connection) -> Connection:
    """Moto with the bucket `LOCKED_BUCKET`."""
    return _with_locked_bucket(moto_connection)


@pytest.fixture
def seaweed_locked_store(locked_on_seaweed: Connection, new_prefix: Callable[[], str]) -> Iterator[S3Store]:
    """An empty store in a bucket of SeaweedFS with Object Lock."""
    for make in _making(LOCKED_BUCKET, locked_on_seaweed, new_prefix):
        yield make()


@pytest.fixture
def moto_locked_store(locked_on_moto: Connection, new_prefix: Callable[[], str]) -> Iterator[S3Store]:
    """An empty store in a bucket of moto with Object Lock, which is no evidence for locks."""
    for make in _making(LOCKED_BUCKET, locked_on_moto, new_prefix):
        yield make()


@pytest.fixture
def seaweed_store(make_seaweed_store: MakeStore) -> S3Store:
    """An empty store on SeaweedFS."""
    return make_seaweed_store()


@pytest.fixture
def moto_store(make_moto_store: MakeStore) -> S3Store:
    """An empty store on moto, which checks neither signatures nor checksums."""
    return make_moto_store()


def _making(bucket: str, connection: Connection, new_prefix: Callable[[], str]) -> Iterator[MakeStore]:
    stores: list[S3Store] = []

    def make() -> S3Store:
        stores.append(S3Store(bucket, new_prefix(), connection=connection))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def _with_locked_bucket(connection: Connection) -> Connection:
    store = S3Store(LOCKED_BUCKET, connection=connection)
    store.client.create_bucket(Bucket=LOCKED_BUCKET, ObjectLockEnabledForBucket=True)
    store.close()
    return connection
