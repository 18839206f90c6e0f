"""`ckpt-archive query`."""

import csv
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

import click

from ckpt_archive.archive import Archive
from ckpt_archive.cli import percent, printable
from ckpt_archive.cli.columns import Column, spare, text_column
from ckpt_archive.cli.parameters import byte_count, named_text
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.clock import SystemClock
from ckpt_archive.compose import system_machine
from ckpt_archive.errors import InvalidInputError, UnavailableError
from ckpt_archive.index.query.answer import Answer, json_value, shown
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.questions import SavedQuestion, saved_question, saved_questions
from ckpt_archive.strictjson import Json

if TYPE_CHECKING:
    from ckpt_archive.index.query.engine import Engine, Watch
    from ckpt_archive.index.query.result import Result

TERMINAL_ROWS = 1000
_QUESTIONS = (text_column("name"), text_column("title"), spare(text_column("for")), text_column("parameters"))
_MOST_SQL_BYTES = 1 << 20


def moment(text: str) -> datetime:
    """An instant (of UTC where no zone is named), or the end of a day in UTC."""
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), time.max, UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is neither a date such as 2026-01-31 nor a time") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@verb(
    "query",
    example=(
        "ckpt-archive query 'SELECT run, max(step) FROM checkpoints GROUP BY run'\n"
        "ckpt-archive query --saved checkpoint -p run=llama-7b -p attempt=0 -p step=1000"
    ),
    exits=(3, 4, 6, 7),
)
@click.argument("sql", metavar="[SQL]", required=False)
@click.option("--file", "path", metavar="FILE", help="Take the SQL from a file; '-' is standard input.")
@click.option("--saved", metavar="NAME", help="Ask a question that comes with this release.")
@click.option("-p", "--param", "given", type=named_text, multiple=True, metavar="NAME=VALUE", help="Its parameters.")
@click.option("--list", "as_list", is_flag=True, help="List the questions that --saved knows.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a heading.")
@click.option("--parquet", metavar="FILE", help="Write the answer into a Parquet file.")
@click.option(
    "--limit", type=click.IntRange(min=0), metavar="N", help=f"At most N rows; else {TERMINAL_ROWS} on a terminal."
)
@click.option("--as-of", type=moment, metavar="TIME", help="As the archive knew it at a time, or at the end of a day.")
@click.option("--cache", metavar="DIR", help="Keep what is read from the store in this folder.")
@click.option("--memory", type=byte_count, metavar="BYTES", help="What the question may take, such as 8G; else 4G.")
@click.option("--show-sql", is_flag=True, help="Print the SQL instead of asking.")
def command(
    frame: Frame,
    /,
    *,
    sql: str | None,
    path: str | None,
    saved: str | None,
    given: tuple[tuple[str, str], ...],
    as_list: bool,
    as_csv: bool,
    parquet: str | None,
    limit: int | None,
    as_of: datetime | None,
    cache: str | None,
    memory: int | None,
    show_sql: bool,
) -> None:
    """Ask the index a question in SQL.

    One SELECT over its tables, in DuckDB's dialect; `ckpt-archive index ddl` shows tables and columns. It can read nothing
    else and change nothing. On a terminal the answer is a table of the first 1,000 rows; in a pipe each row is one line, its
    columns separated by tabs. Needs `pip install 'ckpt-archive[query]'`, and an index (`ckpt-archive index sync`).
    """
    if as_list:
        rows = [_described(question) for question in saved_questions()]
        frame.screen.rows(_QUESTIONS, rows, nothing="There are none.")
        return
    if frame.as_json + as_csv + (parquet is not None) > 1:
        raise click.UsageError("--json, --csv and --parquet exclude each other")
    text = _question(sql, path, saved, dict(given), (as_of or SystemClock().now()).date())
    if show_sql:
        frame.screen.result(text.rstrip("\n"), {"sql": text})
        return
    engine = Archive.open(frame.archive_url).engine(cache=cache, memory_bytes=memory)
    if parquet is not None:
        _save(frame, engine, text, as_of, os.path.abspath(parquet), limit)
    elif as_csv:
        _print_csv(frame, engine, Question(text, as_of), limit)
    else:
        on_terminal = sys.stdout.isatty() and not frame.as_json
        most = TERMINAL_ROWS if limit is None and on_terminal else limit
        _print(frame, engine.answer(Question(text, as_of), most, _watch(frame)))


def _question(sql: str | None, path: str | None, saved: str | None, given: dict[str, str], today: date) -> str:
    """The SQL that is meant."""
    if (sql is not None) + (path is not None) + (saved is not None) != 1:
        raise click.UsageError("give SQL, or --file, or --saved")
    if saved is not None:
        return saved_question(saved).bound(given, today)
    if given:
        raise click.UsageError("-p is for --saved")
    if path is None:
        return sql or ""
    with click.open_file(path, "rb") as file:
        data: bytes = file.read(_MOST_SQL_BYTES + 1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 text", hint="Name a file with one SELECT in it.") from error


def _described(question: SavedQuestion) -> dict[str, str]:
    parameters = " ".join(
        f"{parameter.name}={'…' if parameter.default is None else parameter.default}"
        for parameter in question.parameters
    )
    return {"name": question.name, "title": question.title, "for": question.audience, "parameters": parameters}


def _watch(frame: Frame) -> "Watch | None":
    """Shows how far it is, where somebody looks."""
    return percent.shown if sys.stderr.isatty() and not frame.as_json and frame.verbosity >= 0 else None


def _print(frame: Frame, answer: Answer) -> None:
    """A table, lines, or a document."""
    screen = frame.screen
    columns = [Column(column.name, shown, numeric=column.is_numeric) for column in answer.columns]
    if [column.name for column in columns] == ["explain_key", "explain_value"] and not frame.as_json:
        for _, plan in answer.rows:
            screen.line(plan)
        return
    rows = answer.objects()
    if frame.as_json or not sys.stdout.isatty():
        spelled = json_value if frame.as_json else _in_line
        rows = [{name: spelled(value) for name, value in row.items()} for row in rows]
    screen.rows(columns, rows, nothing="No rows.")
    _tell(frame, answer.has_more, len(answer.rows), answer.notes)


def _print_csv(frame: Frame, engine: "Engine", question: Question, limit: int | None) -> None:
    begun: list[bool] = []

    def take(result: "Result") -> None:
        if begun:
            raise UnavailableError("files of the index were removed while they were read", hint="Ask again.")
        left = limit
        show = printable.line if sys.stdout.isatty() else str
        writer = csv.writer(sys.stdout, lineterminator="\n")
        columns = [column.name for column in result.columns]
        batches = result.batches()
        batch = next(batches, [])
        begun.append(True)
        writer.writerow(map(show, columns))
        while batch and (left is None or left > 0):
            for row in batch[:left]:
                writer.writerow(show(_cell(value)) for value in row)
            left = None if left is None else left - len(batch)
            batch = next(batches, [])
        _tell(frame, bool(batch) or (left or 0) < 0, limit or 0, result.notes)

    engine.ask(question, take, None if sys.stdout.isatty() else _watch(frame))


def _save(frame: Frame, engine: "Engine", sql: str, as_of: datetime | None, path: str, limit: int | None) -> None:
    with _replaced(path) as temporary:
        notes = engine.ask(
            Question(sql, as_of, temporary), lambda result: _saved(result, temporary, limit), _watch(frame)
        )
    _tell(frame, False, 0, notes)
    frame.screen.line(f"{path} is written.")


def _saved(result: "Result", path: str, limit: int | None) -> tuple[str, ...]:
    result.save_parquet(path, limit)
    return result.notes


@contextmanager
def _replaced(path: str) -> Iterator[str]:
    """A name for a new file that takes the place of `path` when it is whole, and is removed otherwise."""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise InvalidInputError(f"there is no folder {folder}", hint="Make it first.")
    temporary = os.path.join(folder, f".{name[:200]}.{system_machine().nonce()}.new")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _cell(value: object) -> str:
    """A value in a line of CSV: texts without quotes, nothing for NULL."""
    found = _in_line(value)
    if found is None:
        return ""
    return found if isinstance(found, str) else printable.document(found).rstrip("\n")


def _in_line(value: object) -> Json:
    """A value as JSON has it, but for numbers that are not finite: in a line these are no NULL."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else json_value(value)


def _tell(frame: Frame, has_more: bool, count: int, notes: tuple[str, ...]) -> None:
    for note in notes:
        frame.screen.note(note)
    if has_more:
        frame.screen.note(f"The first {count:,} rows of more: see --limit.")
