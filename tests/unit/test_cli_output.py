"""What commands print, and where: stdout carries the result, stderr the rest."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ckpt_archive.cli.columns import mapping_column, number_column, size_column, text_column, time_column
from ckpt_archive.cli.output import Screen
from ckpt_archive.cli.parameters import duration, named_number, step_choice
from ckpt_archive.cli.progress import PlainProgress, size_text
from ckpt_archive.progress import ProgressEvent
from ckpt_archive.strictjson import Json

COLUMNS = (
    text_column("run"),
    number_column("step"),
    size_column("size_bytes"),
    time_column("at"),
    mapping_column("metrics"),
)
ROWS: list[dict[str, Json]] = [
    {"run": "a", "step": 7, "size_bytes": 2048, "at": datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "metrics": {"loss": 2.5}},
    {"run": "b", "step": None, "size_bytes": None, "at": None, "metrics": {}},
]


def test_json_is_one_document_with_the_column_names_as_keys(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=True)
    screen.note("not seen")
    screen.line("not seen")
    screen.rows(COLUMNS, ROWS)
    seen = capsys.readouterr()
    assert seen.err == ""
    assert json.loads(seen.out) == [
        {"run": "a", "step": 7, "size_bytes": 2048, "at": "2026-01-02T03:04:05.000006Z", "metrics": {"loss": 2.5}},
        {"run": "b", "step": None, "size_bytes": None, "at": None, "metrics": {}},
    ]


def test_nothing_found_is_an_empty_list_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=True).rows(COLUMNS, [], nothing="no rows")
    assert capsys.readouterr() == ("[]\n", "")


def test_a_pipe_gets_tab_separated_lines_with_exact_values(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().rows(COLUMNS, ROWS)
    seen = capsys.readouterr()
    assert seen.out == 'a\t7\t2048\t2026-01-02T03:04:05.000006Z\t{"loss":2.5}\nb\t\t\t\t{}\n'
    assert seen.err == ""


def test_quiet_says_no_more_than_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(verbosity=-1)
    screen.note("not seen")
    screen.result("done", {"done": True})
    with screen.progress() as progress:
        assert progress is None
    assert capsys.readouterr() == ("done\n", "")


def _on_terminal(code: str) -> str:
    main, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**os.environ, "COLUMNS": "200", "TERM": "xterm"},
    )
    os.close(child)
    text = b"".join(_read(main)).decode()
    assert process.wait() == 0, text
    return text


def _read(descriptor: int) -> Iterator[bytes]:
    try:
        while data := os.read(descriptor, 4096):
            yield data
    except OSError:  # what Linux answers when the other end of a terminal is closed
        os.close(descriptor)


def test_a_terminal_gets_a_table_for_people() -> None:
    text = _on_terminal(
        "from datetime import UTC, datetime\n"
        "from ckpt_archive.cli.columns import *\n"
        "from ckpt_archive.cli.output import Screen\n"
        "columns = text_column('run'), size_column('size_bytes'), time_column('at'), mapping_column('metrics')\n"
        "Screen().rows(columns, [dict(run='a[b]', size_bytes=2048, at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),"
        " metrics=dict(loss=2.5))])\n"
    )
    assert "size_bytes" in text
    for value in ("a[b]", "2.0 KiB", "2026-01-02 03:04:05Z", "loss=2.5"):
        assert value in text


def test_what_is_too_wide_for_a_terminal_is_a_block_of_lines_for_each_row() -> None:
    text = _on_terminal(
        "from ckpt_archive.cli.columns import *\n"
        "from ckpt_archive.cli.output import Screen\n"
        "columns = [text_column(f'column_number_{number}') for number in range(12)] + [number_column('last')]\n"
        "Screen().rows(columns, [{'column_number_0': 'a[b]', 'last': 7}, {'column_number_11': 'c' * 300}])\n"
    )
    lines = [" ".join(re.sub(r"\x1b\[[0-9;]*m", "", line).split()) for line in text.splitlines()]
    assert lines[:3] == ["— 1 —", "column_number_0 a[b]", "last 7"]
    assert lines[3:] == ["— 2 —", f"column_number_11 {'c' * 300}"]


def test_a_terminal_gets_bars() -> None:
    text = _on_terminal(
        "from ckpt_archive.cli.output import Screen\n"
        "from ckpt_archive.progress import ProgressEvent\n"
        "with Screen().progress() as progress:\n"
        "    progress(ProgressEvent('upload', 1 << 20, 2 << 20))\n"
    )
    assert "upload" in text
    assert "1.0 MiB of 2.0 MiB" in text
    assert "bytes" not in text
    assert "of 100" not in text


class Watch:
    """A clock that is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_log_gets_a_line_now_and_then() -> None:
    watch = Watch()
    lines: list[str] = []
    progress = PlainProgress(watch, lines.append)
    for percent in range(101):
        progress(ProgressEvent("upload", percent << 20, 100 << 20))
        watch.sleep(0.25)
    assert lines == [
        "upload: 40.0 MiB of 100.0 MiB (40 %, 4.0 MiB/s)",
        "upload: 80.0 MiB of 100.0 MiB (80 %, 4.0 MiB/s)",
        "upload: 100.0 MiB of 100.0 MiB (100 %, 4.0 MiB/s)",
    ]


def test_a_short_phase_says_nothing() -> None:
    lines: list[str] = []
    progress = PlainProgress(Watch(), lines.append)
    progress(ProgressEvent("digest", 0, 0))
    progress(ProgressEvent("upload", 5, 5))
    assert lines == []


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB"), (5 << 50, "5120.0 TiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_parameters() -> None:
    assert [duration(text) for text in ("90", "90s", "25m", "1.5h", "2d")] == [90, 90, 1500, 5400, 172_800]
    assert named_number("loss=2.5") == ("loss", 2.5)
    assert named_number("tokens=12345678901234567890") == ("tokens", 12345678901234567890)
    assert step_choice("00100") == 100
    assert step_choice("latest-archived") == "latest-archived"


@pytest.mark.parametrize("module", ["boto3", "botocore", "numpy", "rich.table", "ckpt_archive.archive"])
def test_the_help_loads_nothing_heavy(module: str) -> None:
    code = f"import sys\nfrom ckpt_archive.cli.main import run\nrun(['--help'])\nsys.exit({module!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
