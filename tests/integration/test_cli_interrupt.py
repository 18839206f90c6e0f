"""Ctrl-C ends a command at once, whatever its threads wait for, and says what to do next."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckpt_archive.cli.exits import INTERRUPTED

GOES_ON = "interrupted: run the same command again, it goes on where it was\n"
AT_ONCE_SECONDS = 20  # a machine may be busy; the store would keep it for minutes

# The verb `push`, with four parts under way in threads and a bar.
PARTS_UNDER_WAY = """
import socket, sys
from ckpt_archive.cli import main
from ckpt_archive.cli.verb import Frame, verb
from ckpt_archive.executor import ThreadExecutor
from ckpt_archive.progress import ProgressEvent

port = int(sys.argv.pop(1))

def send(number):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"x")
        return connection.recv(1)

@verb("push", example="ckpt-archive push", exits=())
def command(frame, /):
    with frame.screen.progress() as progress:
        if progress is not None:
            progress(ProgressEvent("upload", 1, 2))
        list(ThreadExecutor().map_unordered(send, range(4), limit=4))

main.group.get_command = lambda ctx, name: command
main.main()
"""


@pytest.fixture
def hanging() -> Iterator[socket.socket]:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield listener


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def begin(arguments: list[str], listener: socket.socket) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port_of(listener)}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "CKPT_ARCHIVE_URL": "s3://bucket",
    }
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (["ls"], "interrupted\n"),
        (["verify"], "interrupted\n"),
        (["restore", "r", "--to", "{folder}/to"], GOES_ON),
        (["push", "{folder}", "--run", "r", "--step", "1"], GOES_ON),
    ],
)
def test_a_store_that_hangs_is_left_at_once(verb: list[str], said: str, hanging: socket.socket, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"weights")
    words = [word.format(folder=tmp_path) for word in verb]
    with begin(["-m", "ckpt_archive", *words], hanging) as process:
        connection, _ = hanging.accept()
        with connection:
            assert connection.recv(1)  # the request is under way
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=AT_ONCE_SECONDS)
    assert (process.returncode, out, err) == (INTERRUPTED, "", said)


@pytest.mark.parametrize("as_json", [False, True])
def test_threads_at_work_are_not_waited_for(as_json: bool, hanging: socket.socket) -> None:
    words = ["-c", PARTS_UNDER_WAY, str(port_of(hanging)), "push", *(["--json"] if as_json else [])]
    with begin(words, hanging) as process:
        connections = [hanging.accept()[0] for _ in range(4)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=AT_ONCE_SECONDS)
    for connection in connections:
        connection.close()
    assert (process.returncode, out) == (INTERRUPTED, "")
    if as_json:
        assert json.loads(err)["error"]["kind"] == "interrupted"
    else:
        assert err == GOES_ON


def test_a_terminal_gets_its_cursor_back(hanging: socket.socket) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PARTS_UNDER_WAY, str(port_of(hanging)), "push"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
        start_new_session=True,
    ) as process:
        os.close(theirs)
        connections = [hanging.accept()[0] for _ in range(4)]
        process.send_signal(signal.SIGINT)
        text = b"".join(read_all(ours)).decode()
    for connection in connections:
        connection.close()
    assert process.returncode == INTERRUPTED
    hidden, shown = text.rindex("\x1b[?25l"), text.rindex("\x1b[?25h")
    assert hidden < shown
    assert text[shown:].endswith(GOES_ON.replace("\n", "\r\n"))


def read_all(descriptor: int) -> Iterator[bytes]:
    try:
        while data := os.read(descriptor, 4096):
            yield data
    except OSError:  # what Linux answers when the other end of a terminal is closed
        os.close(descriptor)
