"""What is printed of records that anybody may have written: no character of theirs may steer a terminal, or a shell."""

import contextlib
import io
import json
import os
import random
import shlex
import unicodedata
from collections.abc import Iterator
from typing import Any

from ckpt_archive.cli import exits
from ckpt_archive.cli.columns import (
    Column,
    digest_column,
    key_column,
    mapping_column,
    size_column,
    text_column,
    time_column,
)
from ckpt_archive.cli.output import Screen
from ckpt_archive.cli.scripts import SCRIPTS, ScriptFile
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.names import check_file_path
from ckpt_archive.testing.checkpoints import NOON
from ckpt_archive.testing.fuzz.kinds import Input, Kind, require
from ckpt_archive.testing.fuzz.mutate import TEXTS, text_mutated, value_of

_COLUMNS: tuple[Column, ...] = (
    text_column("run"), size_column("size"), time_column("at"), mapping_column("metrics"), digest_column("digest"),
    key_column("key"),
)  # fmt: skip
_TITLE = "run-a step 1 (attempt 0)"


class _Terminal(io.StringIO):
    """A terminal that can show no colours, so that whatever steers it was not ours."""

    def isatty(self) -> bool:
        """It is one."""
        return True

    def fileno(self) -> int:
        """It has none."""
        raise io.UnsupportedOperation


@contextlib.contextmanager
def captured(*, terminal: bool) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Standard output and error of the block, behind a terminal or behind pipes."""
    out, err = (_Terminal(), _Terminal()) if terminal else (io.StringIO(), io.StringIO())
    before = os.environ.get("TERM")
    os.environ["TERM"] = "dumb"
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield out, err
    finally:
        if before is None:
            del os.environ["TERM"]
        else:
            os.environ["TERM"] = before


def harmless(text: str, *, also: str = "\n") -> bool:
    """Whether a terminal shows all of it as it stands: no control or format character, no half of a pair."""
    # A character that this Python's Unicode does not know yet steers nothing either.
    return text.isprintable() or all(part in also or unicodedata.category(part) not in _STEERING for part in text)


_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def _words(chance: random.Random) -> str:
    text = chance.choice(TEXTS)
    return text_mutated(chance, text) if chance.random() < 0.7 else text


def _make_row(chance: random.Random) -> dict[str, Any]:
    return {
        "run": _words(chance),
        "size": chance.choice((None, 0, 1, 2048, 2**63 - 1)),
        "metrics": {_words(chance): value_of(chance) for _ in range(chance.choice((0, 1, 3)))},
        "digest": _words(chance),
        "key": _words(chance),
        "message": _words(chance),
        "hint": _words(chance),
    }


def _read_back(value: Any) -> Any:
    """What JSON makes of a value: two halves of a surrogate pair side by side are one character."""
    return json.loads(json.dumps(value))


def _take_row(told: Input) -> bool:
    row = {name: value for name, value in told.items() if name not in ("message", "hint")} | {"at": NOON}
    for terminal in (True, False):
        with captured(terminal=terminal) as (out, err):
            screen = Screen()
            screen.rows(_COLUMNS, [row])
            rows = out.getvalue()
            screen.note(told["message"])
            screen.result(told["hint"], row)
        also = "\n" if terminal else "\n\t"
        require(
            harmless(out.getvalue(), also=also) and harmless(err.getvalue()),
            f"printed {out.getvalue()!r}, {err.getvalue()!r}",
        )
        if not terminal:
            require(rows.count("\n") == 1, f"a row became several: {rows!r}")
            require(rows.count("\t") == len(_COLUMNS) - 1, "a column became several")
    with captured(terminal=True) as (out, _):
        Screen(as_json=True).rows(_COLUMNS, [row])
    require(harmless(out.getvalue()), f"printed {out.getvalue()!r}")
    (read,) = json.loads(out.getvalue())
    require(
        [read["run"], read["metrics"]] == _read_back([row["run"], row["metrics"]]),
        "a program reads something else",
    )
    failure = InvalidInputError(told["message"], hint=told["hint"])
    require(harmless(exits.describe(failure, as_json=False)), "the message steers the terminal")
    require(
        exits.describe(failure, as_json=False).count("\n") == (2 if told["hint"] else 1), "a message became several"
    )
    document = exits.describe(failure, as_json=True)
    require(
        harmless(document) and json.loads(document)["error"]["message"] == _read_back(told["message"]),
        "a program reads something else",
    )
    return True


def _make_files(chance: random.Random) -> list[str]:
    return [_words(chance) for _ in range(3)]


def _take_files(paths: Input) -> bool:
    allowed = []
    for path in paths:
        with contextlib.suppress(InvalidInputError):
            allowed.append(check_file_path(path))
    files = [ScriptFile(path, 5, "a" * 64, f"data/run-a/0/1/0/{'b' * 64}", 7) for path in allowed]
    for name, write in SCRIPTS.items():
        script = write("s3://bucket/prefix", _TITLE, files)
        require(harmless(script), "the script steers a terminal")
        if name == "sha256sum":
            continue
        body, _, rest = script.rpartition("sha256sum --check --quiet --strict <<'END'\n")
        require(rest.endswith("END\n") and rest.count("\nEND\n") <= 1, "the list of digests ends early")
        lines = [line for line in body.split("\n") if line.startswith("get ") and not line.startswith("get() ")]
        require(
            [shlex.split(line)[3] for line in lines] == [f"./{path}" for path in allowed], "a shell reads other names"
        )
    return bool(allowed)


def view_kinds() -> list[Kind]:
    """All of them."""
    return [Kind("printed row", _make_row, _take_row, 6), Kind("script", _make_files, _take_files, 10)]
