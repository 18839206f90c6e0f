"""Objects put into a cold storage class, as the bucket's lifecycle engine would do it one day."""

from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.store.protocol import list_all
from ckpt_archive.store.s3 import S3Store

GLACIER = "GLACIER"


def make_cold(store: S3Store | MemoryStore, key: str, storage_class: str = GLACIER) -> None:
    """Let an object lie in a storage class from now on; its bytes and tags stay.

    Where an engine leaves an object's age, this makes it new on S3, and on a versioned bucket a new version: S3 offers no
    other way.

    Args:
        store: Whose; of servers only AWS and moto make something of it.
        key: Which object.
        storage_class: Which class.
    """
    if isinstance(store, MemoryStore):
        store.move(key, "" if storage_class == "STANDARD" else storage_class)
        return
    full = store.full_key(key)
    with store.asking("move", key) as (client, _):
        client.copy_object(
            Bucket=store.bucket,
            Key=full,
            CopySource={"Bucket": store.bucket, "Key": full},
            MetadataDirective="COPY",
            StorageClass=storage_class,  # type: ignore[arg-type]
        )


def make_all_cold(store: S3Store | MemoryStore, prefix: str, storage_class: str = GLACIER) -> list[str]:
    """`make_cold` for every object whose key begins with `prefix`; their keys."""
    found = [info.key for info in list_all(store, prefix)]
    for key in found:
        make_cold(store, key, storage_class)
    return found
