"""How a failure reaches a person and a program: one message, one exit code, no traceback."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from ckpt_archive import errors
from ckpt_archive.cli import exits, main
from ckpt_archive.cli.verb import Frame, verb

Failing = Callable[[BaseException], None]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Makes the verb `ls` raise."""

    def fail_with(error: BaseException) -> None:
        @verb("ls", example="ckpt-archive ls", exits=())
        def command(frame: Frame, /) -> None:
            raise error

        monkeypatch.setattr(main.group, "get_command", lambda ctx, name: command)

    return fail_with


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (errors.InvalidInputError, 2, "usage"),
        (errors.UnavailableError, 3, "unavailable"),
        (errors.ThrottledError, 3, "unavailable"),
        (errors.DeniedError, 3, "unavailable"),
        (errors.IntegrityError, 4, "integrity"),
        (errors.ConflictError, 5, "conflict"),
        (errors.AlreadyExistsError, 5, "conflict"),
        (errors.NotFoundError, 6, "not-found"),
        (errors.CapacityError, 7, "capacity"),
    ],
)
def test_every_group_of_errors_has_its_exit_code(
    error: type[errors.CkptArchiveError],
    code: int,
    kind: str,
    failing: Failing,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(error("the run 'x' is odd", hint="Do something else."))
    assert main.run(["ls"]) == code
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err == "error: the run 'x' is odd\n       Do something else.\n"
    assert main.run(["ls", "--json"]) == code
    seen = capsys.readouterr()
    assert seen.out == ""
    assert json.loads(seen.err) == {
        "error": {"kind": kind, "message": "the run 'x' is odd", "hint": "Do something else."}
    }


def test_a_full_disk_is_a_matter_of_capacity(failing: Failing, capsys: pytest.CaptureFixture[str]) -> None:
    failing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/nvme/x"))
    assert main.run(["ls"]) == 7
    assert "/nvme/x" in capsys.readouterr().err


def test_another_refusal_of_the_system_is_told_without_a_traceback(
    failing: Failing, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/root/x"))
    assert main.run(["ls"]) == 2
    assert capsys.readouterr().err.startswith("error: /root/x: Permission denied\n")


def test_ctrl_c_is_130(failing: Failing, capsys: pytest.CaptureFixture[str]) -> None:
    failing(KeyboardInterrupt())
    assert main.run(["ls"]) == exits.INTERRUPTED
    assert capsys.readouterr() == ("", "interrupted\n")


def test_a_bug_keeps_its_traceback(failing: Failing) -> None:
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main.run(["ls"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-verb"],
        ["ls", "--no-such-option"],
        ["push"],
        ["push", ".", "--run", "r", "--step", "-1"],
        ["push", ".", "--run", "r", "--step", "1", "--metric", "loss"],
        ["push", ".", "--run", "r", "--step", "1", "--metric", "loss=nan"],
        ["restore", "r", "newest", "--to", "x"],
        ["ls", "--attempt", "1"],
        ["verify", "--attempt", "1"],
        ["show", "r", "1", "--as", "rclone"],
    ],
)
def test_misuse_is_2_and_names_the_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CKPT_ARCHIVE_URL", raising=False)
    assert main.run(arguments) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.startswith("error: ")
    assert "--help" in seen.err
    assert main.run([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["kind"] == "usage"


def test_a_script_is_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--json", "show", "r", "1", "--as", "aws"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["kind"] == "usage"


def test_no_archive_named_says_how_to_name_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CKPT_ARCHIVE_URL", raising=False)
    assert main.run(["ls"]) == 2
    assert "CKPT_ARCHIVE_URL" in capsys.readouterr().err


def test_a_reader_that_had_enough_is_no_error() -> None:
    """`ckpt-archive --help | head -0`: the pipe is closed before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "ckpt_archive", "--help"], stdout=closed, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == exits.READER_GONE
    assert done.stderr == b""
