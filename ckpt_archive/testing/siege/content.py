"""The bytes of a checkpoint, which follow from who wrote it: so anything restored can be judged alone."""

import hashlib
import json
import os
import random
from dataclasses import asdict, dataclass
from pathlib import Path

_IDENTITY = "identity.json"
_MIB = 1 << 20


class WrongBytesError(Exception):
    """What was restored is not what anybody wrote."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who wrote a checkpoint.

    Attributes:
        seed: Of the site.
        run: Run name.
        step: Training step.
        launch: Which process, or which rank of a push.
    """

    seed: str
    run: str
    step: int
    launch: str

    def files(self) -> dict[str, bytes]:
        """Path and bytes of every file."""
        name = f"{self.seed}/{self.run}/{self.step}/{self.launch}"
        return {
            f"{self.launch}/{_IDENTITY}": json.dumps(asdict(self)).encode(),
            **{f"{self.launch}/{path}": _bytes(f"{name}/{path}", size) for path, size in _sizes(name).items()},
        }


def write(folder: Path, identity: Identity) -> None:
    """Write a checkpoint."""
    for path, data in identity.files().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def check(folder: Path) -> list[Identity]:
    """Judge a restored checkpoint; who wrote it, by launch.

    Raises:
        WrongBytesError: If a byte, or a file, is not what its writers wrote.
    """
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    writers = []
    for path in sorted(name for name in found if os.path.basename(name) == _IDENTITY):
        try:
            writers.append(Identity(**json.loads(found[path].read_bytes())))
        except (ValueError, TypeError) as error:
            raise WrongBytesError(f"{folder}/{path} is no identity: {error}") from error
    expected = {path: data for identity in writers for path, data in identity.files().items()}
    if not writers or found.keys() != expected.keys():
        raise WrongBytesError(f"{folder} holds {sorted(found)}, and should hold {sorted(expected)}")
    if len({(identity.seed, identity.run, identity.step) for identity in writers}) != 1:
        raise WrongBytesError(f"{folder} is of several checkpoints: {writers}")
    for path, data in expected.items():
        if found[path].read_bytes() != data:
            raise WrongBytesError(f"{folder}/{path} has other bytes than {writers} wrote")
    return writers


def _sizes(name: str) -> dict[str, int]:
    """Two of three checkpoints have an object of several parts: by itself from 8 MiB on, else packed with the small ones."""
    chance = random.Random(name)
    large = chance.random() < 2 / 3
    model = chance.randrange(5 * _MIB, 11 * _MIB) if large else chance.randrange(1000, 600_000)
    return {
        "model.bin": model,
        "state/optimizer.bin": chance.randrange(100, 90_000),
        **{f"state/{number}": chance.randrange(1, 300) for number in range(chance.randrange(4))},
        "state/empty": 0,
    }


def _bytes(name: str, size_bytes: int) -> bytes:
    return hashlib.shake_128(name.encode()).digest(size_bytes)
