"""`ckpt-archive query`: what is printed where, and what a wrong command line is told."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from ckpt_archive import Archive
from ckpt_archive.cli import cmd_query, main, percent
from ckpt_archive.cli.verb import Frame
from ckpt_archive.compose import store_at, system_machine
from ckpt_archive.errors import CapacityError, UnavailableError
from ckpt_archive.index.query import failures
from ckpt_archive.index.query.engine import Engine, T, Watch
from ckpt_archive.index.query.question import Question
from ckpt_archive.index.query.result import Result
from ckpt_archive.index.schema import CHECKPOINTS, RUNS, VERSION
from ckpt_archive.testing.delta import HandWritten, checkpoint_rows

Query = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"file://{tmp_path_factory.mktemp('archive')}"
    Archive.create(url)
    store = store_at(url, system_machine())
    HandWritten(store, CHECKPOINTS).append(checkpoint_rows(2_500), 3)
    HandWritten(store, RUNS, version=VERSION + 1)
    return url


@pytest.fixture
def query(url: str, capsys: pytest.CaptureFixture[str]) -> Query:
    def ask(*arguments: str) -> tuple[int, str, str]:
        code = main.run(["--archive", url, "query", *arguments])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return ask


SQL = "SELECT run, step, committed_at, size_bytes / 3 AS third, NULL AS none FROM checkpoints ORDER BY committed_at"


def test_lines_in_a_pipe(query: Query) -> None:
    code, out, err = query(SQL)
    lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 2500)  # no limit but on a terminal
    assert lines[1] == "run-000000\t100\t2026-01-01T00:05:00.000000Z\t1365.3333333333333\t"


def test_one_document(query: Query) -> None:
    code, out, err = query(SQL, "--json", "--limit", "2")
    assert (code, err) == (0, "")
    assert json.loads(out)[1] == {
        "run": "run-000000",
        "step": 100,
        "committed_at": "2026-01-01T00:05:00.000000Z",
        "third": 4096 / 3,
        "none": None,
    }
    assert len(json.loads(query(SQL, "--json")[1])) == 2500


def test_values_of_every_type(query: Query) -> None:
    sql = (
        "SELECT true AS b, 1.50::DECIMAL(5,2) AS d, 2::DECIMAL AS w, 'nan'::DOUBLE AS n, '\\x00\\xFF'::BLOB AS x,"
        " DATE '2026-01-02' AS day, TIME '01:02:03' AS t, INTERVAL 90 SECOND AS i, [1, NULL] AS l,"
        " {'a': DATE '2026-01-02'} AS s,"
        " MAP {'k': 1} AS m, 170141183460469231731687303715884105727::HUGEINT AS h, TIMESTAMP '2026-01-02 03:04:05' AS z,"
        " '7c0b6e0a-0000-0000-0000-000000000000'::UUID AS u"
    )
    assert json.loads(query(sql, "--json")[1]) == [
        {
            "b": True,
            "d": 1.5,
            "w": 2,
            "n": None,
            "x": "00ff",
            "day": "2026-01-02",
            "t": "01:02:03",
            "i": 90.0,
            "l": [1, None],
            "s": {"a": "2026-01-02"},
            "m": {"k": 1},
            "h": 170141183460469231731687303715884105727,
            "z": "2026-01-02T03:04:05.000000Z",
            "u": "7c0b6e0a-0000-0000-0000-000000000000",
        }
    ]
    (row,) = list(csv.DictReader(io.StringIO(query(sql, "--csv")[1])))
    assert row["l"] == "[1,null]"
    assert (row["b"], row["n"], row["z"]) == ("true", "nan", "2026-01-02T03:04:05.000000Z")


def test_csv(query: Query) -> None:
    code, out, err = query("SELECT 'a,\"b\"\nc' AS odd, step FROM checkpoints ORDER BY committed_at", "--csv")
    rows = list(csv.reader(io.StringIO(out)))
    assert (code, err, rows[0], rows[2], len(rows)) == (0, "", ["odd", "step"], ['a,"b"\nc', "100"], 2501)
    code, out, err = query("SELECT step FROM checkpoints ORDER BY committed_at", "--csv", "--limit", "3")
    assert (out, err) == ("step\n0\n100\n200\n", "The first 3 rows of more: see --limit.\n")
    assert query("SELECT step FROM checkpoints WHERE false", "--csv")[1:] == ("step\n", "")
    assert query("SELECT 1 AS a", "--csv", "--limit", "1")[1:] == ("a\n1\n", "")
    assert query("SELECT 1 AS a", "--csv", "--limit", "0")[1:] == ("a\n", "The first 0 rows of more: see --limit.\n")


def test_lines_that_were_printed_are_not_printed_again(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Files of the index were removed in the middle, and the engine begins once more."""

    class Twice(Engine):
        def ask(self, question: Question, take: Callable[[Result], T], watch: Watch | None = None) -> T:
            super().ask(question, take, watch)
            return super().ask(question, take, watch)

    machine = system_machine()
    engine = Twice(store_at(url, machine), machine.executor)
    with pytest.raises(UnavailableError, match="removed"):
        cmd_query._print_csv(Frame(), engine, Question("SELECT 1 AS a"), None)
    assert capsys.readouterr().out == "a\n1\n"


def test_parquet(query: Query, tmp_path: Path) -> None:
    target = tmp_path / "it's [an] answer.parquet"
    target.write_bytes(b"what was there before")
    code, out, err = query("SELECT run, committed_at FROM checkpoints", "--parquet", str(target))
    assert (code, out, err) == (0, f"{target} is written.\n", "")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        escaped = str(target).replace("[", "[[]", 1)
        found = connection.execute(
            "SELECT count(*), min(committed_at)::VARCHAR FROM read_parquet(?)", [escaped]
        ).fetchall()
    assert found == [(2500, "2026-01-01 00:00:00+00")]
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize(
    ("sql", "code"),
    [("SELECT error('x') FROM checkpoints", 2), ("SELEC", 2), ("EXPLAIN SELECT 1", 2), ("SELECT * FROM files", 6)],
)
def test_a_parquet_file_is_whole_or_what_it_was(query: Query, tmp_path: Path, sql: str, code: int) -> None:
    target = tmp_path / "answer.parquet"
    target.write_bytes(b"before")
    assert query(sql, "--parquet", str(target))[0] == code
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["answer.parquet"]


def test_no_room_for_a_parquet_file() -> None:
    failed = failures.converted(duckdb.IOException('Could not write file "/x/.a": No space left on device'), (), {})
    assert isinstance(failed, CapacityError)


def test_where_a_parquet_file_can_not_be(query: Query, tmp_path: Path) -> None:
    assert query("SELECT 1", "--parquet", str(tmp_path / "no/a.parquet"))[0] == 2
    code, _, err = query("SELECT 1", "--parquet", str(tmp_path))
    assert (code, list(tmp_path.iterdir())) == (2, [])
    assert "error: " in err


def test_as_of(query: Query) -> None:
    sql = "SELECT count(*), max(committed_at) FROM checkpoints"
    for time, expected in [
        ("2026-01-02", "576\t2026-01-02T23:55:00.000000Z"),
        ("2026-01-02T00:00:00Z", "289\t2026-01-02T00:00:00.000000Z"),
        ("2026-01-02 02:00:00+02:00", "289\t2026-01-02T00:00:00.000000Z"),
        ("2026-01-02T00:00", "289\t2026-01-02T00:00:00.000000Z"),
    ]:
        assert query(sql, "--as-of", time)[1] == expected + "\n"
    assert query(sql, "--as-of", "yesterday")[0] == 2


def test_a_file_and_standard_input(query: Query, tmp_path: Path, url: str) -> None:
    (tmp_path / "q.sql").write_bytes(b"\xef\xbb\xbf-- how many\nSELECT count(*) FROM checkpoints;\n")
    assert query("--file", str(tmp_path / "q.sql"))[:2] == (0, "2500\n")
    (tmp_path / "q.sql").write_bytes(b"SELECT '\xff'")
    assert query("--file", str(tmp_path / "q.sql"))[0] == 2
    assert query("--file", str(tmp_path / "none.sql"))[0] == 2
    ended = subprocess.run(
        [sys.executable, "-m", "ckpt_archive", "--archive", url, "query", "--file", "-"],
        input="SELECT 7",
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "7\n"


def test_saved_questions(query: Query) -> None:
    code, out, _ = query("--list", "--json")
    assert code == 0
    assert all(set(item) == {"name", "title", "for", "parameters"} for item in json.loads(out))
    assert query("--saved", "no-such-question")[0] == 6


@pytest.mark.parametrize(
    "arguments",
    [(), ("SELECT 1", "--saved", "x"), ("SELECT 1", "-p", "a=b"), ("SELECT 1", "-p", "a"), ("SELECT 1", "--limit", "-1"),
     ("SELECT 1", "--csv", "--json"), ("SELECT 1", "--csv", "--parquet", "x")],
)  # fmt: skip
def test_command_lines_that_are_wrong(query: Query, arguments: tuple[str, ...]) -> None:
    assert query(*arguments)[0] == 2


def test_show_sql(query: Query) -> None:
    assert query("SELECT 1", "--show-sql")[:2] == (0, "SELECT 1\n")
    assert json.loads(query("SELECT 1", "--show-sql", "--json")[1]) == [{"sql": "SELECT 1"}]


def test_a_plan(query: Query) -> None:
    code, out, _ = query("EXPLAIN SELECT run FROM checkpoints")
    assert code == 0
    assert "Projections: run" in out
    assert "\\n" not in out


def test_notes_do_not_stand_in_the_answer(query: Query) -> None:
    code, out, err = query("SELECT count(*) FROM runs")
    assert (code, out) == (0, "0\n")
    assert err.startswith("runs was written by a newer release")
    assert query("SELECT count(*) AS n FROM runs", "--json")[1:] == ('[{"n":0}]\n', "")
    assert query("SELECT run FROM runs")[1] == ""


def test_errors_as_json(query: Query) -> None:
    code, out, err = query("SELECT manifst_sha256 FROM checkpoints", "--json")
    assert (code, out) == (2, "")
    assert json.loads(err)["error"]["kind"] == "usage"
    assert "manifest_sha256" in json.loads(err)["error"]["hint"]


def test_no_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Archive.create(f"file://{tmp_path}")
    assert main.run(["--archive", f"file://{tmp_path}", "query", "SELECT * FROM checkpoints"]) == 6
    assert "ckpt-archive index sync" in capsys.readouterr().err


def test_a_cache(query: Query, tmp_path: Path) -> None:
    assert (
        query("SELECT count(*) FROM checkpoints", "--cache", str(tmp_path / "cache"), "--memory", "1G")[1] == "2500\n"
    )
    assert query("SELECT 1", "--cache", __file__ + "/below")[0] == 2


def on_a_terminal(*arguments: str) -> str:
    """What a command prints to a terminal of 200 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ckpt_archive", *arguments],
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"COLUMNS": "200", "TERM": "dumb"},
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(ours)
    assert process.wait(60) == 0
    return seen.decode().replace("\r\n", "\n")


def test_a_table_on_a_terminal(url: str) -> None:
    odd = "1 / 3 AS third, step > 0 AS later, chr(27) || '[31mred' AS odd"
    lines = on_a_terminal(
        "--archive", url, "query", f"SELECT run, step, committed_at, {odd} FROM checkpoints"
    ).splitlines()  # fmt: skip
    assert lines[0].split() == ["run", "step", "committed_at", "third", "later", "odd"]
    assert lines[2].split() == ["run-000000", "100", "2026-01-01", "00:05:00Z", "0.333333", "true", "\\x1b[31mred"]
    assert lines[1].index("  0 ") > lines[2].index(" 100 ")  # numbers to the right
    assert lines[-1] == "The first 1,000 rows of more: see --limit."
    assert len(lines) == 1002


def test_how_far_a_long_question_is(capsys: pytest.CaptureFixture[str]) -> None:
    asked = threading.Semaphore(0)

    def tell() -> float:
        asked.release()
        return 41.7

    with percent.shown(tell, first_seconds=0):
        assert asked.acquire(timeout=60)
    assert capsys.readouterr() == ("", "\r 42 %\r     \r")
    with percent.shown(lambda: -1.0):
        pass
    assert capsys.readouterr() == ("", "")


def test_csv_does_not_steer_a_terminal(url: str) -> None:
    assert "\\x1b[31m" in on_a_terminal("--archive", url, "query", "SELECT chr(27) || '[31m' AS a", "--csv")


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
from ckpt_archive.cli import main, percent
code = main.run({arguments!r})
loaded = {{name.partition(".")[0] for name in sys.modules}}
assert not loaded & {names!r}, loaded
sys.exit(code)
"""


def without(names: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    script = BLOCKED.format(names=names, arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_asking_needs_neither_pyarrow_nor_deltalake(url: str) -> None:
    ended = without(
        {"pyarrow", "deltalake", "numpy", "pandas"}, "--archive", url, "query", "SELECT count(*) FROM checkpoints"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2500\n", "")


@pytest.mark.parametrize("name", ["duckdb", "fsspec"])
def test_without_what_asking_needs(url: str, name: str) -> None:
    ended = without({name}, "--archive", url, "query", "SELECT count(*) FROM checkpoints")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"asking needs the package {name}" in ended.stderr
    assert "pip install 'ckpt-archive[query]'" in ended.stderr


def test_the_public_method(url: str, tmp_path: Path) -> None:
    archive = Archive.open(url)
    answer = archive.query("SELECT run, count(*) AS n FROM checkpoints GROUP BY run ORDER BY run", limit=1)
    assert (answer.objects(), answer.has_more) == ([{"run": "run-000000", "n": 1000}], True)
    assert archive.query("SELECT 1 AS a", cache=tmp_path / "cache", memory_bytes=1 << 28).rows == ((1,),)
    assert archive.engine() is archive.engine()


def test_a_number_that_is_not_finite_is_not_taken_for_null_in_a_line(query: Query) -> None:
    sql = "SELECT 'nan'::DOUBLE AS n, 'inf'::DOUBLE AS i, '-inf'::DOUBLE AS m, NULL::DOUBLE AS none"
    assert query(sql)[1] == "nan\tinf\t-inf\t\n"
    assert query(sql, "--csv")[1] == "n,i,m,none\nnan,inf,-inf,\n"


def test_a_day_is_its_end_however_it_is_spelled() -> None:
    end = cmd_query.moment("2026-01-31")
    assert (end.day, end.hour) == (31, 23)
    assert cmd_query.moment("20260131") == cmd_query.moment("2026-W05-6") == end
