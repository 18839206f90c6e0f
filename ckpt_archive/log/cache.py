"""The records just read, for whoever wants their bytes next and would else fetch them again."""

import threading


class RecordCache:
    """Keeps the bytes of records until they are taken, up to a limit: what comes when it is full is not kept.

    Args:
        limit_bytes: How much it keeps.
    """

    def __init__(self, limit_bytes: int = 64 << 20) -> None:
        self._room_bytes = limit_bytes
        self._lock = threading.Lock()
        self._kept: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        """Keep the record `key`, if there is room."""
        with self._lock:
            if key not in self._kept and len(data) <= self._room_bytes:
                self._kept[key] = data
                self._room_bytes -= len(data)

    def take(self, key: str) -> bytes | None:
        """The bytes of the record `key`, which are then kept no more; None if they are not here."""
        with self._lock:
            data = self._kept.pop(key, None)
            if data is not None:
                self._room_bytes += len(data)
            return data
