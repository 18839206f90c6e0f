"""Texts that come from outside: names, keys, URLs, environment, settings, and what a command line is made of."""

import json
import random
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial
from typing import Any

import click

from ckpt_archive import clock, names, strictjson
from ckpt_archive.cli import parameters
from ckpt_archive.clock import SystemClock
from ckpt_archive.commit import layout
from ckpt_archive.digest import crc32c_from_hex
from ckpt_archive.disk.posix import PosixFileSystem
from ckpt_archive.errors import CkptArchiveError, IntegrityError, InvalidInputError
from ckpt_archive.local.staging import parse_number, parse_rank_name
from ckpt_archive.participant import RunSettings, rank_of
from ckpt_archive.promotion import Every
from ckpt_archive.settings import Environment
from ckpt_archive.ship.push import PushRequest
from ckpt_archive.store.keys import check_key, is_key
from ckpt_archive.store.open import connect
from ckpt_archive.testing.fuzz.kinds import Input, Kind, require
from ckpt_archive.testing.fuzz.mutate import NUMBERS, TEXTS, bytes_mutated, text_mutated, value_of
from ckpt_archive.transfer.settings import TransferSettings

_PATHS = ("model.safetensors", "a/b/c.bin", "optimizer/rank-0.pt", "é/ü.json", *TEXTS)


def _text(*good: str) -> Callable[[random.Random], str]:
    def make(chance: random.Random) -> str:
        text = chance.choice(good)
        for _ in range(chance.choice((0, 1, 1, 1, 2, 5))):
            text = text_mutated(chance, text)
        if chance.random() < 0.001:
            text *= 100_000 // max(1, len(text))
        return text

    return make


def _refused(action: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether `action` refused what it was given, and in which way it may."""
    try:
        action()
    except errors as error:
        str(error)
        return True
    return False


_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def _take_path(text: Input) -> bool:
    if _refused(lambda: names.check_file_path(text), InvalidInputError):
        return False
    parts = text.split("/")
    require(not {"", ".", ".."} & set(parts) and "\\" not in text and "\0" not in text, "it leads elsewhere")
    require(not any(unicodedata.category(char) in _INVISIBLE for char in text), "it has a control character")
    require(all(len(part.encode()) <= 255 for part in parts) and len(text.encode()) <= 1000, "it is too long")
    return True


def _make_tree(chance: random.Random) -> list[str]:
    stems = [chance.choice(_PATHS) for _ in range(chance.choice((1, 1, 2, 3, 5, 20)))]
    stems = [f"{number}/{stem}" if chance.random() < 0.5 else stem for number, stem in enumerate(stems)]
    found = []
    for stem in stems:
        found.append(stem)
        match chance.randrange(6):
            case 0:
                found.append(stem.upper())
            case 1:
                found.append(f"{stem}/{chance.choice(_PATHS)}")
            case 2:
                found.append(stem.swapcase() + "/x")
            case 3:
                found.append(unicodedata.normalize("NFD", stem))
            case 4:
                found.append(stem.casefold())
    return found


def _take_tree(paths: Input) -> bool:
    if _refused(lambda: names.check_file_tree(paths), InvalidInputError):
        return False
    folded = [path.casefold() for path in paths]
    require(len(set(folded)) == len(paths), "two are one where case does not count")
    for path in folded:
        require(not any(other.startswith(f"{path}/") for other in folded), "a file is a folder")
    # As a file system that folds case sees the folders.
    spelled: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            require(spelled.setdefault(folder.casefold(), folder) == folder, "a folder is spelled in two ways")
    return True


def _parser(
    name: str, good: Sequence[str], parse: Callable[[str], Any], *errors: type[Exception], weight: int = 10
) -> Kind:
    def take(text: Input) -> bool:
        return not _refused(lambda: parse(text), *errors)

    return Kind(name, _text(*good), take, weight)


_KEYS: tuple[str, ...] = (
    layout.manifest("run-a", 3, 200), layout.receipt("run-a", 3, 200, 1), layout.attempt_record("run-a", 3),
    layout.decision("run-a", 3, 200),
    layout.data_object("run-a", 3, 200, 1, "a" * 64), "manifests/run-a/", "manifests/run-a/99999996/",
    "rank-000001.3", "00000001",
)  # fmt: skip
_KEY_READERS: tuple[tuple[Callable[[str], Any], type[Exception]], ...] = (
    (layout.manifest_place, IntegrityError), (layout.manifests_run, IntegrityError),
    (layout.manifests_attempt, IntegrityError),
    (layout.attempt_number, IntegrityError), (layout.decision_step, IntegrityError),
    (layout.receipt_step_rank, IntegrityError),
    (parse_rank_name, IntegrityError), (lambda name: parse_number(name, 8), IntegrityError),
    (check_key, InvalidInputError),
)  # fmt: skip


def _take_key(key: Input) -> bool:
    accepted = sum(not _refused(partial(read, key), error) for read, error in _KEY_READERS)
    with suppress(IntegrityError):
        run, attempt, step = layout.manifest_place(key)
        require(layout.manifest(run, attempt, step) == key, "another key is of the same checkpoint")
    found = layout.receipt_step_rank(key)
    if found is not None:
        require(key.endswith(f"{found[0]:012d}/{found[1]:06d}.json"), "another key is of the same receipt")
    require(is_key(key) == (not _refused(lambda: check_key(key), InvalidInputError)), "both ways to ask differ")
    return accepted > 1


_URLS = (
    "s3://bucket/prefix", "file:///mnt/hdd/archive", "memory://name", "s3://b.u-c_k/p/q", "file://localhost/a",
    "http://x/y", "S3://BUCKET",
    "s3://user:secret@bucket/p", "s3://[::1]/x", "s3://[", "s3://bucket:99999999/p", "s3://buc\u2100ket/p",
    "file:///a%00b", "file:///a/%2e%2e/b",
    "file:///%ff%fe", "file:////", "file:a", "s3:///p", "s3://bucket/a/../b", "s3://bucket//a", "s3://bucket/?x=1",
    "memory://", "://", "file:///\ud800",
)  # fmt: skip


def _take_url(url: Input) -> bool:
    if _refused(lambda: connect(url, fs=PosixFileSystem(), clock=SystemClock()), InvalidInputError):
        return False
    if url[:5].lower() == "file:" and len(url) < 5_000:
        store = connect(url, fs=PosixFileSystem(), clock=SystemClock())
        for ask in (lambda: store.head("archive.json"), lambda: store.list("runs/", limit=1)):
            _refused(ask, CkptArchiveError)
    return True


_VARIABLES = (
    "CKPT_ARCHIVE_URL", "CKPT_ARCHIVE_LAUNCH_KEY", "CKPT_ARCHIVE_STAGING", "RANK", "WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMI_SIZE",
    "SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID", "SLURM_JOB_NUM_NODES",
    "SLURM_NNODES",
    "SLURM_STEP_NUM_NODES", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT",
)  # fmt: skip
_VALUES = (*TEXTS, "3", "8", "none", "4711", "9" * 18, "9" * 4300, "9" * 4301, "0" * 5000)


def _make_environment(chance: random.Random) -> dict[str, str]:
    return {name: chance.choice(_VALUES) for name in _VARIABLES if chance.random() < 0.5}


_SETTINGS: dict[str, Any] = {
    "name": "run-a", "staging": "/nvme/x", "keep_local": 3, "promote": None, "labels": {}, "sources": (),
    "rank": None, "writers": 1, "launch_key": None,
    "quota_bytes": None, "on_error": "log", "agent": "auto", "network_staging": False,
}  # fmt: skip


def _take_environment(variables: Input) -> bool:
    environment = Environment.read(variables)
    settings = RunSettings(**{**_SETTINGS, "promote": Every(5, save_every_steps=10), "writers": 8})
    return not _refused(lambda: rank_of(settings, environment), InvalidInputError)


_NUMBERS_ALLOWED = ("keep_local", "writers", "quota_bytes", "rank")


def _make_settings(chance: random.Random) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name in ("name", "on_error", "agent"):
        if chance.random() < 0.3:
            told[name] = chance.choice(TEXTS)
    for name in _NUMBERS_ALLOWED:
        if chance.random() < 0.3:
            told[name] = value_of(chance) if chance.random() < 0.3 else chance.choice(NUMBERS)
    told["every"] = [
        chance.choice((1, 5, 5, 5, *NUMBERS[:6], "5", None)),
        chance.choice((None, None, 10, 10, *NUMBERS[:6])),
    ]
    told["step"] = chance.choice((100, *NUMBERS)) if chance.random() < 0.7 else chance.choice((*TEXTS[:5], True))
    told["transfer"] = {
        item.name: chance.choice(NUMBERS[1:12] if chance.random() < 0.8 else (*NUMBERS, "x", None))
        for item in fields(TransferSettings)
        if chance.random() < 0.4
    }
    return told


def _take_settings(told: Input) -> bool:
    every, step, transfer = told["every"], told["step"], told["transfer"]
    named = {name: value for name, value in told.items() if name in _SETTINGS}
    numbers = {name: value for name, value in told.items() if name in ("rank", "writers")}
    refused = [
        _refused(lambda: TransferSettings(**transfer), InvalidInputError),
        _refused(
            lambda: PushRequest(directory="/x", run=told.get("name", "run-a"), step=step, **numbers), InvalidInputError
        ),
        _refused(lambda: Every(*every).to_json(7, 7), InvalidInputError),
    ]
    settings: list[RunSettings] = []
    refused.append(
        _refused(
            lambda: settings.append(RunSettings(**{**_SETTINGS, "promote": Every(5, 10), **named})), InvalidInputError
        )
    )
    if settings:
        refused.append(_refused(lambda: rank_of(settings[0], Environment(rank=3, world_size=8)), InvalidInputError))
    return not all(refused)


_STRICT = (b'{"a":[1,2.5,"\xc3\xa9",null,true,{"b":{}}],"z":"y"}\n', b'{"a":1e5}', b"[1]", b'"x"', b"{}")


def _make_json(chance: random.Random) -> bytes:
    return bytes_mutated(chance, chance.choice(_STRICT)) if chance.random() < 0.9 else chance.choice(_STRICT)


def _take_json(data: Input) -> bool:
    found: list[Any] = []
    if _refused(lambda: found.append(strictjson.decode(data, "it")), IntegrityError):
        return False
    require(strictjson.decode(strictjson.encode(found[0]), "again") == found[0], "it reads otherwise again")
    require(json.loads(data) == found[0], "others read it otherwise")
    return True


_USAGE = (click.BadParameter, ValueError)  # click takes both for a misuse


def text_kinds() -> list[Kind]:
    """All of them."""
    return [
        Kind("file path", _text(*_PATHS), _take_path, 40),
        Kind("file tree", _make_tree, _take_tree, 30),
        Kind("key", _text(*_KEYS), _take_key, 30),
        Kind("URL", _text(*_URLS), _take_url, 30),
        Kind("environment", _make_environment, _take_environment, 15),
        Kind("settings", _make_settings, _take_settings, 20),
        Kind("JSON", _make_json, _take_json, 30),
        _parser("run name", ("llama-7b", "a", "x" * 128), names.check_run_name, InvalidInputError),
        _parser("digest", ("a" * 64,), names.check_sha256, InvalidInputError, weight=5),
        _parser("CRC32C", ("0a1b2c3d",), crc32c_from_hex, InvalidInputError, weight=5),
        _parser("time", ("2026-03-01T12:00:00.000000Z",), clock.from_text, ValueError),
        _parser("duration", ("90", "25m", "1.5h", "2d", "9" * 400), parameters.duration, *_USAGE, weight=8),
        _parser(
            "byte count",
            ("64K", "1.5GiB", "500000", "9" * 400, "9" * 308 + "G"),
            parameters.byte_count,
            *_USAGE,
            weight=8,
        ),
        _parser("name=text", ("a=b", "a=b=c"), parameters.named_text, *_USAGE, weight=5),
        _parser(
            "name=number", ("loss=2.5", "n=5", "x=1e999", "x=" + "9" * 400), parameters.named_number, *_USAGE, weight=8
        ),
        _parser("step", ("100", "latest", "latest-archived", "9" * 5000), parameters.step_choice, *_USAGE, weight=8),
    ]
