"""What `query` takes from others: Delta logs that anybody may have written, saved questions, and values of parameters."""

import json
import random
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import duckdb

from ckpt_archive.errors import CkptArchiveError, InvalidInputError
from ckpt_archive.executor import InlineExecutor
from ckpt_archive.index import schema
from ckpt_archive.index.query import views
from ckpt_archive.index.questions import literal, parse, saved_questions
from ckpt_archive.index.snapshot import Snapshot, read_snapshot
from ckpt_archive.store.body import Body
from ckpt_archive.store.keys import is_key
from ckpt_archive.store.memory import MemoryStore
from ckpt_archive.testing.archives import content
from ckpt_archive.testing.delta import HandWritten, checkpoint_rows
from ckpt_archive.testing.fuzz.kinds import Input, Kind, require
from ckpt_archive.testing.fuzz.mutate import NUMBERS, TEXTS, bytes_mutated, mutated, text_mutated, value_of

_FOLDER = "index/checkpoints/"
_LOG = f"{_FOLDER}_delta_log/"
_POINTER = f"{_LOG}_last_checkpoint"
_TODAY = date(2026, 3, 1)
_MOMENTS = (
    None,
    datetime(2026, 1, 1, 12, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
)
_PATHS = (
    "../x.parquet", "a/../../../archive.json", "%2e%2e/%2e%2e/x", "..%2fx", "%2Fetc%2Fpasswd", "/etc/passwd",
    "s3://other/x", "s3%3A//other/x", "file:///etc/passwd", "https://h/x", "month=2026-01/../../x", "_delta_log/x",
    "%5fdelta_log/x", "month=2026-01/*.parquet", "month=2026-02/00000001.parquet", "x'); DROP TABLE x; --", "a\0b",
    "%00", "%", "%zz", "\ud800", "x" * 5_000,
)  # fmt: skip
_TYPES: tuple[Any, ...] = (
    "decimal(38,2)", "decimal(1) ) ; DROP TABLE x; --", "decimal(", "string'); --", {"type": "array"},
    {"type": "array", "elementType": {"type": "map", "keyType": "string", "valueType": "long"}},
    {"type": "struct", "fields": [{"name": 'a" b', "type": "long"}]}, {"type": "struct", "fields": 5}, [], None, 5,
)  # fmt: skip


def _log_as_it_is() -> tuple[list[list[Any]], dict[str, Any]]:
    store = MemoryStore()
    table = HandWritten(store, schema.CHECKPOINTS)
    table.append(checkpoint_rows(40, minutes=2_000.0), 1)
    table.remove(*table.append(checkpoint_rows(3, first=2_000), 2))
    keys = sorted(info.key for info in store.list(_LOG).objects)
    return [[json.loads(line) for line in content(store, key).splitlines()] for key in keys], {"version": 1, "size": 4}


_COMMITS, _HINT = _log_as_it_is()


def _make_log(chance: random.Random) -> dict[str, Any]:
    """Commits as texts of lines, and now and then a hint at a checkpoint and keys that nobody of ours would write."""
    commits = json.loads(json.dumps(_COMMITS))
    for commit in commits:
        for action in commit:
            _spoil(chance, action)
    if chance.random() < 0.5:
        commits = mutated(chance, commits)
    lines = [
        [json.dumps(action) for action in commit] if isinstance(commit, list) else [json.dumps(commit)]
        for commit in (commits if isinstance(commits, list) else [commits])
    ]
    if chance.random() < 0.2:
        commit = chance.choice(lines or [["{}"]])
        at = chance.randrange(len(commit) + 1)
        commit[at:at] = [bytes_mutated(chance, chance.choice(commit or ["{}"]).encode()).decode("latin-1")]
    told: dict[str, Any] = {"commits": ["\n".join(commit) for commit in lines]}
    if chance.random() < 0.2:
        hint = mutated(chance, {**_HINT, "parts": chance.choice((1, 3, *NUMBERS))})
        told["hint"] = json.dumps(hint) if chance.random() < 0.8 else chance.choice(TEXTS)
    if chance.random() < 0.1:
        numbers = chance.choice(("0" * 20, "9" * 20, "٣" * 20, f"{3:020d}", f"{5:020d}"))
        told["more"] = numbers + chance.choice(
            (".json", ".checkpoint.parquet", ".checkpoint.0000000001.0000000002.parquet")
        )
    return told


def _spoil(chance: random.Random, action: dict[str, Any]) -> None:
    for name in ("add", "remove"):
        if name in action and chance.random() < 0.15:
            action[name]["path"] = chance.choice((*_PATHS, text_mutated(chance, action[name]["path"])))
    if "add" in action and chance.random() < 0.2:
        match chance.randrange(3):
            case 0:
                action["add"]["size"] = chance.choice((*NUMBERS, float("nan"), float("inf"), "5", True))
            case 1:
                action["add"]["stats"] = chance.choice(("NaN", "[" * 5_000, "[1]", '{"minValues":[]}', "9" * 5_000))
            case _:
                action["add"]["stats"] = json.dumps(mutated(chance, json.loads(action["add"]["stats"])))
    if "metaData" in action and chance.random() < 0.2:
        schema_of = json.loads(action["metaData"]["schemaString"])
        if chance.random() < 0.5:
            chance.choice(schema_of["fields"])["type"] = chance.choice(_TYPES)
        else:
            schema_of = mutated(chance, schema_of)
        action["metaData"]["schemaString"] = json.dumps(schema_of)


def _take_log(told: Input) -> bool:
    store = MemoryStore()
    for number, text in enumerate(told["commits"]):
        store.create(f"{_LOG}{number:020d}.json", Body.of(text.encode("latin-1", "replace")))
    if "hint" in told:
        store.create(_POINTER, Body.of(told["hint"].encode("utf-8", "replace")))
    if told.get("more") and not store.list(_LOG + told["more"]).objects:
        store.create(_LOG + told["more"], Body.of(b'{"commitInfo":{}}'))

    def no_checkpoint(_: bytes) -> list[Mapping[str, Any]]:
        raise ValueError("this is no Parquet file")

    try:
        found = read_snapshot(store, _FOLDER, InlineExecutor(), no_checkpoint)
        _seen(found)
    except CkptArchiveError as error:
        require(len(str(error)) < 5_000, "a message as long as that")
        return False
    return True


def _seen(found: Snapshot) -> None:
    for key, file in found.files.items():
        relative = key.removeprefix(_FOLDER)
        require(key == file.key and relative != key and is_key(key), f"a file elsewhere: {key!r}")
        require(not relative.startswith("_"), f"a file of the log itself: {key!r}")
        require(0 <= file.size_bytes < 2**63, f"a size of {file.size_bytes}")
    for as_of in _MOMENTS:
        window = views.Window(found.transactions.get(schema.APP, 0), as_of)
        paths = {file.key: file.key for file in views.files_in(found, window)}
        _one_view(views.view(found, window, paths))


def _one_view(sql: str) -> None:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.ParserException as error:
        raise InvalidInputError(str(error)[:200]) from error
    require(len(statements) == 1, f"{len(statements)} statements")
    require(statements[0].type == duckdb.StatementType.CREATE, f"a {statements[0].type}")


_SAVED = tuple(
    f"-- title: {item.title}\n-- for: {item.audience}\n-- answers: {item.answers}\n"
    + "".join(
        f"-- param {known.name} {known.type}{f' = {known.default}' if known.default else ''}: {known.meaning}\n"
        for known in item.parameters
        if known.default != ""
    )
    + item.sql
    for item in saved_questions()
)


def _make_question(chance: random.Random) -> dict[str, Any]:
    text = chance.choice(_SAVED)
    for _ in range(chance.choice((1, 1, 2, 4))):
        text = text_mutated(chance, text) if chance.random() < 0.3 else _line_mutated(chance, text)
    names = re.findall(r"(?m)^-- param ([a-z][a-z0-9_]*)", text)
    return {"text": text[:200_000], "given": {name: chance.choice(_VALUES) for name in names if chance.random() < 0.9}}


def _line_mutated(chance: random.Random, text: str) -> str:
    lines = text.split("\n")
    at = chance.randrange(min(len(lines), 8))
    lines[at] = text_mutated(chance, lines[at])
    return "\n".join(lines)


def _take_question(told: Input) -> bool:
    try:
        question = parse("planted", told["text"])
        question.bound(told["given"], _TODAY)
    except InvalidInputError as error:
        str(error)
        return False
    return True


_VALUES = (
    *TEXTS, "today", "today-30", "today+999999", "today-999999", "2026-02-30", "0001-01-01", "'; DROP TABLE x; --", "''",
    "\\'", "x' || (SELECT 1) || '", ":run", "$1", "?", "-5", "5", "0.5", "-1e400", "1e-400", "9" * 19, "9" * 5_000, "0x1F",
    "1" * 400 + "e-400", "-", ".", "e", "+", "1_0", "٣",
)  # fmt: skip


def _make_value(chance: random.Random) -> list[str]:
    value = chance.choice(_VALUES) if chance.random() < 0.6 else str(value_of(chance))
    return [text_mutated(chance, value) if chance.random() < 0.3 else value, chance.choice(_LITERALS)]


_LITERALS = ("text", "integer", "number", "date")


def _take_value(told: Input) -> bool:
    text, kind = told
    try:
        spelled = literal(text, kind, _TODAY)
    except ValueError:
        return False
    _one_value(spelled)
    return True


def _one_value(spelled: str) -> None:
    """It stays one value, wherever it is put."""
    inside = spelled.strip("()-")
    is_text = spelled[0] == spelled[-1] == "'" and len(spelled) > 1 and "'" not in spelled[1:-1].replace("''", "")
    require(is_text or re.fullmatch(r"[0-9.e+-]+", inside), f"this is no literal: {spelled!r}")


def asked_kinds() -> list[Kind]:
    """All of them."""
    return [
        Kind("Delta log", _make_log, _take_log, 40),
        Kind("saved question", _make_question, _take_question, 15),
        Kind("query parameter", _make_value, _take_value, 25),
    ]
