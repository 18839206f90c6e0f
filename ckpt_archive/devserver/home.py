"""The folder of a server: held by one process at a time, with the keys and ports that are the same at every start."""

import contextlib
import fcntl
import json
import os
import secrets
from dataclasses import dataclass

from ckpt_archive.clock import Clock
from ckpt_archive.errors import ConflictError

REGION = "us-east-1"

_FOLLOW_SECONDS = 20.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Keys:
    """The credentials of an identity that may do everything."""

    access_key: str
    secret_key: str

    def environment(self, endpoint_url: str, url: str) -> dict[str, str]:
        """The variables with which the AWS SDKs, the `aws` command and `ckpt-archive` find the server."""
        return {
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "CKPT_ARCHIVE_URL": url,
        }


class Home:
    """The folder.

    Args:
        path: Where it is; made when it is held for the first time.
        clock: Paces the waiting.
    """

    def __init__(self, path: str, clock: Clock) -> None:
        self.path = os.path.abspath(path)
        self._clock = clock
        self._lock: int | None = None

    @property
    def keys_path(self) -> str:
        """The identities that the server knows."""
        return os.path.join(self.path, "identities.json")

    @property
    def lock(self) -> int:
        """The descriptor of the lock: whoever inherits it holds the folder too."""
        assert self._lock is not None
        return self._lock

    def hold(self) -> None:
        """Hold the lock of the folder, unless we do.

        Raises:
            ConflictError: If somebody else does.
        """
        if self._lock is not None:
            return
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(self.path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(lock)
            os.ftruncate(lock, 0)
            os.pwrite(lock, b"%d" % os.getpid(), 0)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def _wait_for(self, lock: int) -> None:
        """Until we hold it; the server of somebody who was killed needs a moment to follow."""
        deadline = self._clock.monotonic() + _FOLLOW_SECONDS
        while not _try_lock(lock):
            holder = int(os.pread(lock, 20, 0) or b"0")
            if _is_alive(holder) or self._clock.monotonic() > deadline:
                raise ConflictError(
                    f"a dev server (process {holder}) already uses {self.path}",
                    hint="Use that one, end it, or choose another folder.",
                )
            self._clock.sleep(_POLL_SECONDS)

    def release(self) -> None:
        """Let others have the folder."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def keys(self) -> Keys:
        """Those of an earlier start, else new ones."""
        with contextlib.suppress(FileNotFoundError), open(self.keys_path, encoding="utf-8") as file:
            first = json.load(file)["identities"][0]["credentials"][0]
            return Keys(first["accessKey"], first["secretKey"])
        keys = Keys(f"DEV{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))
        identity = {
            "name": "dev",
            "credentials": [{"accessKey": keys.access_key, "secretKey": keys.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        with open(self.keys_path, "w", encoding="utf-8", opener=_private) as file:
            json.dump({"identities": [identity]}, file)
        return keys

    @property
    def _ports_path(self) -> str:
        return os.path.join(self.path, "ports.json")

    def remembered_ports(self) -> dict[str, int]:
        """Those of the last start; empty if there was none."""
        with contextlib.suppress(FileNotFoundError), open(self._ports_path, encoding="utf-8") as file:
            ports: dict[str, int] = json.load(file)
            return ports
        return {}

    def remember_ports(self, ports: dict[str, int]) -> None:
        """For the next start."""
        with open(self._ports_path, "w", encoding="utf-8") as file:
            json.dump(ports, file)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return pid > 0


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
