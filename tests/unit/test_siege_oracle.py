"""That the siege would notice: its judgement on made-up journals, and on checkpoints that were tampered with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ckpt_archive.testing.siege.calm import compare
from ckpt_archive.testing.siege.content import Identity, WrongBytesError, check, write
from ckpt_archive.testing.siege.figures import Figures
from ckpt_archive.testing.siege.journal import Journal, Known, Line, wrong_resumes

IDENTITY = Identity("7", "trained", 3, "launch-1")


def launched(launch: str, step: int | None = None, of: str | None = None) -> list[Line]:
    return [
        {"event": "launch", "launch": launch},
        {"event": "resumed", "launch": launch, "step": step, "from": of},
    ]


def begun(launch: str, step: int) -> list[Line]:
    return [{"event": "begun", "launch": launch, "step": step}]


def saved(launch: str, step: int) -> list[Line]:
    return [*begun(launch, step), {"event": "acknowledged", "launch": launch, "step": step}]


FIRST = [*launched("a"), *saved("a", 1), *saved("a", 2)]


@pytest.mark.parametrize(
    "lines",
    [
        [*FIRST, *launched("b", 2, "a")],
        # Whoever was killed behind the rename was not told, but it is there; or it was killed before.
        [*FIRST, *begun("a", 3), *launched("b", 2, "a")],
        [*FIRST, *begun("a", 3), *launched("b", 3, "a")],
        # A launch that saved nothing answers for nobody.
        [*FIRST, *launched("b", 2, "a"), *launched("c", 2, "a")],
        # The newest launch that has saved answers, whatever a zombie has saved since.
        [*FIRST, *launched("b", 2, "a"), *saved("b", 3), *saved("a", 3), *saved("a", 4), *launched("c", 3, "b")],
        # It saves while the other one looks.
        [*FIRST, {"event": "launch", "launch": "b"}, *saved("a", 3), *launched("b", 3, "a")[1:]],
        [*FIRST, {"event": "launch", "launch": "b"}, *saved("a", 3), *launched("b", 2, "a")[1:]],
    ],
)
def test_a_right_resume(lines: list[Line]) -> None:
    assert wrong_resumes(lines) == []


@pytest.mark.parametrize(
    "lines",
    [
        [*FIRST, *launched("b", 1, "a")],
        [*FIRST, *launched("b")],
        [*FIRST, *launched("b", 3, "a")],
        [*launched("a"), *launched("b", 1, "a")],
        [*FIRST, *launched("b", 2, "a"), *saved("b", 3), *saved("a", 3), *launched("c", 3, "a")],
        [*FIRST, *begun("a", 3), {"event": "not-staged", "launch": "a", "step": 3}, *launched("b", 3, "a")],
    ],
)
def test_a_wrong_resume_is_found(lines: list[Line]) -> None:
    assert len(wrong_resumes(lines)) == 1


def test_what_answers_of_what_is_there() -> None:
    known = Known.of([*FIRST, *launched("b", 2, "a"), *saved("b", 3)])
    assert known.newest() == ("b", 3)
    assert known.newest({("a", 1), ("a", 2)}) == ("a", 2)
    assert known.newest(set()) is None


# Of steps every second one is promoted.
ARCHIVED = [["trained", 0, 2, "a"], ["pushed", 0, 1, "rank-0"], ["pushed", 0, 1, "rank-1"]]


def compared(
    archived: list[list[object]], *, gaps: tuple[tuple[int, int], ...] = (), lines: list[Line] = FIRST
) -> Figures:
    figures = Figures()
    compare("7", Known.of(lines), {"archived": archived, "gaps": gaps}, [1], figures)
    return figures


def test_all_that_was_acknowledged_and_promoted_is_there() -> None:
    figures = compared(ARCHIVED)
    assert figures.is_good
    assert figures.counts == {
        "acknowledged": 2, "promoted": 1, "archived": 1, "pushed": 1, "gaps": 0, "restored": 2
    }  # fmt: skip


def test_what_was_begun_and_never_acknowledged_may_be_there() -> None:
    more = [["trained", 0, 4, "a"]]
    assert compared(ARCHIVED + more, lines=FIRST + begun("a", 4)).is_good
    assert compared(ARCHIVED, lines=FIRST + begun("a", 4)).is_good


def test_what_is_lost_is_found() -> None:
    (lost,) = compared(ARCHIVED[1:]).lost
    assert "('a', 2) was acknowledged and is nowhere" in lost
    (lost,) = compared(ARCHIVED[:1]).lost
    assert "pushed step 1 is nowhere" in lost
    # A gap on record is no loss, if it is of that launch.
    lines = FIRST + saved("a", 4)
    assert compared(ARCHIVED, lines=lines, gaps=((0, 4),)).is_good
    assert len(compared(ARCHIVED, lines=lines, gaps=((1, 4),)).lost) == 1


def test_what_nobody_saved_is_found() -> None:
    (wrong,) = compared([*ARCHIVED, ["trained", 0, 6, "a"]]).wrong
    assert "nobody began it" in wrong
    (finding,) = compared([*ARCHIVED, ["trained", 0, 1, "a"]]).findings
    assert "not promoted" in finding


def test_a_torn_line_is_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    journal = Journal(str(tmp_path / "journal"))
    assert journal.lines() == []
    journal.say("launch", "a")
    told = capfd.readouterr().out
    with open(journal.path, "a", encoding="utf-8") as file:
        file.write('{"event": "resu')
    assert journal.lines() == [{"event": "launch", "launch": "a"}]
    assert told == Path(journal.path).read_text().partition("\n")[0] + "\n"


def flip(folder: Path) -> None:
    path = folder / "launch-1" / "model.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(folder: Path) -> None:
    path = folder / "launch-1" / "state" / "optimizer.bin"
    path.write_bytes(path.read_bytes()[:-1])


def remove(folder: Path) -> None:
    (folder / "launch-1" / "state" / "empty").unlink()


def add(folder: Path) -> None:
    (folder / "more").touch()


def forget(folder: Path) -> None:
    (folder / "launch-1" / "identity.json").write_text("{}")


def mix(folder: Path) -> None:
    write(folder, Identity("7", "trained", 4, "launch-2"))


@pytest.mark.parametrize("tamper", [flip, cut, remove, add, forget, mix])
def test_wrong_bytes_are_found(tamper: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path, IDENTITY)
    assert check(tmp_path) == [IDENTITY]
    tamper(tmp_path)
    with pytest.raises(WrongBytesError):
        check(tmp_path)


def test_a_checkpoint_of_several_writers(tmp_path: Path) -> None:
    ranks = [Identity("7", "pushed", 3, f"rank-{rank}") for rank in range(2)]
    for identity in ranks:
        write(tmp_path, identity)
    assert check(tmp_path) == ranks
