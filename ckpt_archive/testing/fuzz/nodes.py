"""A staging directory in which somebody else has been, and command lines that nobody meant."""

import json
import os
import random
from pathlib import Path
from typing import Any

from ckpt_archive.cli.main import run as run_command
from ckpt_archive.errors import CkptArchiveError
from ckpt_archive.local.agent_status import read_status
from ckpt_archive.local.status import describe
from ckpt_archive.testing.fuzz.hostile import snapshot
from ckpt_archive.testing.fuzz.kinds import Input, Kind, require
from ckpt_archive.testing.fuzz.mutate import TEXTS, bytes_mutated, mutated, sealed, text_mutated
from ckpt_archive.testing.fuzz.scene import Scene
from ckpt_archive.testing.fuzz.views import captured, harmless
from ckpt_archive.testing.site import kill

_BEEN = ("record", "record", "record", "bytes", "link", "fifo", "folder", "empty", "huge", "stray", "stray")


class Trespass:
    """A node in whose staging directory one thing at a time is not what it was."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._scene = Scene(folder)
        self._paths = sorted(path for path in self._scene.records() if "/files/" not in path and path.endswith(".json"))
        self._outside = folder / "outside"
        self._outside.mkdir()
        (self._outside / "canary").write_bytes(b"precious")
        self._before = snapshot(self._outside)

    def make(self, chance: random.Random) -> dict[str, Any]:
        """What somebody did there."""
        path = chance.choice(self._paths)
        told: dict[str, Any] = {"how": chance.choice(_BEEN), "path": path, "reader": chance.randrange(4)}
        data = (self._scene.master / path).read_bytes()
        if told["how"] == "record":
            record = json.loads(data)
            told["record"] = mutated(chance, record)
            if "archive_url" in record:
                told["record"]["archive_url"] = record["archive_url"]  # the archives of this node are all there are
        elif told["how"] == "bytes":
            told["data"] = bytes_mutated(chance, data).decode("latin-1")
        elif told["how"] == "stray":
            name = chance.choice(
                (*TEXTS, "rank-000000.2", "rank-000000.999999999", "00000007", "000000000099", ".new-x")
            )
            told["name"] = os.fsencode(
                name.replace("\0", "").replace("/", "_")[:80].encode("utf-8", "surrogatepass")
            ).decode("latin-1")
        return told

    def take(self, told: Input) -> bool:
        """Do it, and then what a node does; nothing of a checkpoint is lost, nothing outside is touched."""
        scene = self._scene
        scene.lay_out()
        self._trespass(told, os.path.join(scene.node.staging.root, told["path"]))
        try:
            self._read(told["reader"])
        except CkptArchiveError as error:
            str(error)
            return False
        finally:
            scene.shelf.restore_state(scene.before)
            require(snapshot(self._outside) == self._before, "something outside was changed")
        gone = scene.payload(scene.master) - scene.payload(scene.node.staging.root)
        require(not gone or told["how"] in ("record", "folder"), f"{len(gone)} files of checkpoints are lost")
        return True

    def _trespass(self, told: Input, path: str) -> None:
        if told["how"] == "stray":
            stray = os.path.join(os.fsencode(os.path.dirname(path)), told["name"].encode("latin-1"))
            if told["name"] and not os.path.lexists(stray):
                os.mkdir(stray)
            return
        os.unlink(path)
        match told["how"]:
            case "record":
                Path(path).write_bytes(sealed(told["record"]))
            case "bytes":
                Path(path).write_bytes(told["data"].encode("latin-1"))
            case "link":
                os.symlink(self._outside / "canary", path)
            case "fifo":
                os.mkfifo(path)
            case "folder":
                os.mkdir(path)
            case "empty":
                Path(path).touch()
            case "huge":
                with open(path, "wb") as file:
                    file.truncate((64 << 20) + 1)

    def _read(self, reader: int) -> None:
        node = self._scene.node
        match reader:
            case 0:
                describe(node.staging)
                read_status(node.staging)
            case 1:
                node.ship()
            case _:
                run = node.run()
                self._scene.site.down = reader == 3
                try:
                    run.resume()
                finally:
                    self._scene.site.down = False
                    kill(run)


# Without `init`: there is no archive, so that no push reads what it was not meant to.
_VERBS = ("ls", "show", "restore", "verify", "status", "doctor", "push", "nix", "--help", "--version")
_WORDS = (
    "run-a", "100", "latest", "--to", "--json", "-q", "-v", "--attempt", "--rank", "--writers", "--step", "--run",
    "--deep", "--as", "aws", "curl", "--staging",
    "--include", "--metric", "a=1", "--label", "--archive", "memory://fuzz", "s3://", "--if-any", "-", "--", "-1",
    "1" * 30, "--fallback",
)  # fmt: skip


def _make_words(chance: random.Random) -> list[str]:
    words = [chance.choice((*_WORDS, *TEXTS)) for _ in range(chance.choice((0, 1, 2, 3, 6)))]
    words = [text_mutated(chance, word) if chance.random() < 0.15 else word for word in words]
    # As they come from an operating system: bytes, no NUL.
    words = [os.fsdecode(word.replace("\0", "").encode("utf-8", "surrogatepass"))[:5_000] for word in words]
    return ["--archive", "memory://fuzz", chance.choice(_VERBS), *words]


def _take_words(words: Input) -> bool:
    if any(word.startswith(("s3:", "http")) and len(word) > 8 for word in words):
        return False  # nothing is asked of a network
    with captured(terminal=True) as (out, err):
        code = run_command(words)
    require(0 <= code <= 7, f"exit code {code}")
    require(harmless(out.getvalue()) and harmless(err.getvalue()), f"printed {out.getvalue()!r}, {err.getvalue()!r}")
    if "--json" in words and code and err.getvalue():
        json.loads(err.getvalue())
    return code == 0


def node_kinds(folder: Path) -> list[Kind]:
    """All of them."""
    trespass = Trespass(folder / "trespass")
    return [Kind("trespass", trespass.make, trespass.take, 1), Kind("command line", _make_words, _take_words, 4)]
