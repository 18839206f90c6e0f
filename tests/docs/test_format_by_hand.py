"""`docs/format.md` keeps its promise: the very commands it quotes bring a checkpoint back, without anything of ours."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from ckpt_archive.archive import Archive
from ckpt_archive.commit import layout
from ckpt_archive.transfer.settings import TransferSettings

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "fixtures" / "format-1" / "archive"
RUN = "llama-7b"


def blocks() -> dict[str, str]:
    """The shell texts of the section, by how they begin."""
    text = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    section = text.split("\n## Restore a checkpoint by hand\n")[1].split("\n## ")[0]
    script, aws, curl, jq = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return {"script": script, "aws": aws, "curl": curl, "jq": jq}


def with_jq(script: str, functions: str) -> str:
    """The script with the functions that read JSON replaced, as the text says."""
    readers = re.compile(r"^receipts\(\) \{.*?^\}\n.*?^files\(\) \{.*?^\}\n", re.DOTALL | re.MULTILINE)
    return readers.sub(lambda _: functions, script)


def restore(script: str, variables: Mapping[str, str], to: Path) -> subprocess.CompletedProcess[str]:
    path = os.environ["PATH"]
    return subprocess.run(
        ["/bin/sh"],
        input=script,
        env={"PATH": path, "TMPDIR": str(to.parent), "TO": str(to), **variables},
        cwd=to.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


FILES = {
    "config.json": b'{"layers": 2}\n',
    "-odd $name `with` 'quotes' \"and\" * spaces .txt": b"odd\n",
    " leading.txt": b"leading\n",
    "model/größe/データ.bin": os.urandom(700),
    "model/weights.safetensors": os.urandom(2_500_000),
    "optimizer/state.bin": os.urandom(1_048_576),
    "a/b/c/deep.txt": b"deep\n",
    "empty": b"",
    "flags/READY": b"",
}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The folder of an archive with one checkpoint in it, and its attempt."""
    root = tmp_path_factory.mktemp("archive")
    for path, data in FILES.items():
        target = root / "checkpoint" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    transfer = TransferSettings(part_size_bytes=1 << 20, pack_below_bytes=1 << 20)
    archive = Archive.create(f"file://{root}/archive", transfer=transfer)
    report = archive.push(root / "checkpoint", RUN, 98_765, metrics={"loss": 2.0})
    # Two of their own, and one that holds the small ones.
    folder = root / "archive" / layout.data_folder(RUN, report.attempt, 98_765)
    assert len(list(folder.rglob("*"))) == 1 + 3
    return root / "archive", report.attempt


def variables(archive: Path, attempt: int, step: int = 98_765, run: str = RUN) -> dict[str, str]:
    return {"ARCHIVE": str(archive), "RUN": run, "ATTEMPT": str(attempt), "STEP": str(step)}


def test_the_quoted_commands_restore_a_checkpoint(pushed: tuple[Path, int], tmp_path: Path) -> None:
    done = restore(blocks()["script"], variables(*pushed), tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "every file is what was archived" in done.stdout
    assert tree(tmp_path / "out") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_so_they_do_with_jq(pushed: tuple[Path, int], tmp_path: Path) -> None:
    script = with_jq(blocks()["script"], blocks()["jq"])
    assert "python" not in script
    done = restore(script, variables(*pushed), tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize(("run", "attempt", "step"), [(RUN, 0, 200), (RUN, 1, 250), ("two-writers", 0, 1000)])
def test_they_restore_the_golden_archive(tmp_path: Path, run: str, attempt: int, step: int) -> None:
    done = restore(blocks()["script"], variables(GOLDEN, attempt, step, run), tmp_path / "by-hand")
    assert (done.returncode, done.stderr) == (0, "")
    archive = shutil.copytree(GOLDEN, tmp_path / "copy")
    Archive.open(f"file://{archive}").restore(run, step, attempt=attempt, to=tmp_path / "ours", exact_folder=True)
    assert tree(tmp_path / "by-hand") == tree(tmp_path / "ours")


@pytest.mark.parametrize("kind", ["data", "receipts"])
def test_they_stop_at_a_changed_byte(pushed: tuple[Path, int], tmp_path: Path, kind: str) -> None:
    copy = Path(shutil.copytree(pushed[0], tmp_path / "copy"))
    changed = max((path for path in (copy / kind).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(changed.read_bytes())
    data[len(data) // 2] ^= 1
    changed.write_bytes(data)
    done = restore(blocks()["script"], variables(copy, pushed[1]), tmp_path / "out")
    assert done.returncode != 0
    assert "FAILED" in done.stdout
    assert "every file" not in done.stdout


def test_they_refuse_what_they_do_not_describe(tmp_path: Path) -> None:
    # The digest of the changed receipt is not the manifest's, so only the function that reads it is tried.
    (functions,) = re.findall(r"^files\(\) \{.*?^\}\n", blocks()["script"], re.DOTALL | re.MULTILINE)
    (receipt,) = GOLDEN.glob("receipts/llama-7b/00000000/*/*.json")
    newer = tmp_path / "newer.json"
    newer.write_bytes(receipt.read_bytes().replace(b'"path":', b'"encoding":"split-1","path":', 1))
    done = restore(f"set -eu\n{functions}\nfiles '{newer}'", {}, tmp_path / "out")
    assert done.returncode != 0
    assert "newer description" in done.stderr
