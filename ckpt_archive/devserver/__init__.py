"""A real S3 server on this machine: SeaweedFS from one wheel, for tests, the demo and `ckpt-archive dev-server`.

It listens on loopback only, sends nothing home, and never outlives the process that started it. Not for production: its
internal ports ask for no credentials, so every user of this machine can reach what it stores.
"""

from ckpt_archive.devserver.home import REGION
from ckpt_archive.devserver.server import DEFAULT_BUCKET, DevServer

__all__ = ["DEFAULT_BUCKET", "REGION", "DevServer"]
