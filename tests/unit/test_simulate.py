"""What a policy costs over the years: against a simulation that looks at every checkpoint every midnight."""

import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_archive.cli.main import run as cli
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.money import prices
from ckpt_archive.retention.money.cohorts import Cohort, cohorts, life
from ckpt_archive.retention.money.grid import finest_seconds, grids
from ckpt_archive.retention.money.ledger import Ledger
from ckpt_archive.retention.money.plot import draw
from ckpt_archive.retention.money.prices import MONTH_SECONDS
from ckpt_archive.retention.money.simulate import Scenario, everything_on_ssd, for_ever, simulate
from ckpt_archive.retention.money.workload import Workload
from ckpt_archive.retention.plans.plan import ends_at, may_tag
from ckpt_archive.retention.policy.values import DAY, TAG_KEY, Policy, RetentionClass, Transition, midnight_after
from ckpt_archive.retention.rules.rules import rules_of
from ckpt_archive.store.protocol import ObjectInfo
from ckpt_archive.testing.lifecycle_configuration import parse_rules
from ckpt_archive.testing.lifecycle_engine import Act, Version, due_now

BEGINNING = datetime(2027, 1, 1, tzinfo=UTC)
TB = 10**12

BOOK = prices.parse(
    """
    written = 2027-01-01
    [storage.STANDARD]
    usd_per_tb_month = 20
    put_usd_per_1000 = 0.005
    list_usd_per_1000 = 0.004
    get_usd_per_1000 = 0.003
    [storage.SSD]
    usd_per_tb_month = 120
    [storage.GLACIER_IR]
    usd_per_tb_month = 4
    min_days = 90
    min_object_bytes = 100_000
    get_usd_per_1000 = 0.01
    transition_usd_per_1000 = 0.02
    retrieval.Immediate = { usd_per_gb = 0.03 }
    [storage.DEEP_ARCHIVE]
    usd_per_tb_month = 1
    min_days = 180
    overhead_bytes = 32_768
    overhead_standard_bytes = 8_192
    transition_usd_per_1000 = 0.05
    retrieval.Standard = { usd_per_gb = 0.02, usd_per_1000 = 0.1 }
    """,
    "test.toml",
)

DEFAULT = Policy(
    classes=(
        RetentionClass("recent", 2),
        RetentionClass("hourly", 14, every=12),
        RetentionClass("daily", 365, every=288, transitions=(Transition(30, "GLACIER_IR"),)),
        RetentionClass("milestone", None, milestone="*", transitions=(Transition(60, "DEEP_ARCHIVE"),)),
    ),
    default="recent",
    name="default",
)


@dataclass(slots=True)
class One:
    """A checkpoint of the simulation that looks at each."""

    number: int
    created_at: datetime
    retention: RetentionClass | None
    storage_class: str = "STANDARD"
    entered_at: datetime = BEGINNING
    ends_at: datetime | None = None
    announced: bool = False
    tagged: bool = False
    overdue: bool = False
    gone: bool = False


@dataclass(slots=True)
class Naive:
    """Engine and pass, object by object, midnight by midnight: nothing but what the User Guide and the policy say."""

    policy: Policy
    workload: Workload
    usd: list[Counter[str]] = field(default_factory=list)
    seconds: list[Counter[str]] = field(default_factory=list)
    stored: list[Counter[str]] = field(default_factory=list)
    kept: list[Counter[str]] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)
    tagged: list[int] = field(default_factory=list)
    peak: int = 0

    def __post_init__(self) -> None:
        months = self.workload.months
        for series in (self.usd, self.seconds, self.stored, self.kept):
            series.extend(Counter() for _ in range(months))
        self.moved, self.tagged = [0] * months, [0] * months

    @staticmethod
    def month(moment: datetime) -> int:
        """The month that ends with, or holds, a moment."""
        return -(-int((moment - BEGINNING).total_seconds()) // MONTH_SECONDS) - 1

    def run(self) -> None:
        end = BEGINNING + timedelta(seconds=self.workload.months * MONTH_SECONDS)
        milestones = set(self.workload.milestones())
        every = timedelta(seconds=self.workload.every_seconds)
        every_one = [
            One(number, BEGINNING + number * every, self._class(number, milestones))
            for number in range(1, (end - BEGINNING) // every + 1)
        ]
        for one in every_one:
            one.entered_at = one.created_at
        boundaries = [
            BEGINNING + timedelta(seconds=(month + 1) * MONTH_SECONDS) for month in range(self.workload.months)
        ]
        moments = sorted({*boundaries, *(BEGINNING + day * DAY for day in range(1, (end - BEGINNING).days + 1))})
        for moment in moments:
            there = [one for one in every_one if one.created_at <= moment and not one.gone]
            self.peak = max(self.peak, len(there))
            if midnight_after(moment) == moment:
                self._pass(moment, there)
                self._engine(moment, there)
            if moment in boundaries:
                number = boundaries.index(moment)
                for one in there:
                    if not one.gone:
                        self.stored[number][one.storage_class] += self.workload.size_bytes
                        self.kept[number][one.retention.name if one.retention else ""] += 1
        for one in every_one:
            if not one.gone:
                self._stayed(one, end)

    def _class(self, number: int, milestones: set[int]) -> RetentionClass | None:
        promotion: dict[str, object] = {"rule": "every", "ordinal": number}
        if number in milestones:
            promotion = {"rule": "milestone", "name": f"best-{number}"}
        return self.policy.choose(promotion)[0]

    def _pass(self, now: datetime, there: list[One]) -> None:
        old = there[: max(0, len(there) - self.policy.keep_newest)]
        for one in old:
            if one.retention is None:
                continue
            natural = one.retention.ends_at(one.created_at)
            if not one.announced:
                one.announced = True
                if natural is not None:
                    one.ends_at = max(natural, midnight_after(now + self.policy.notice_days * DAY))
                    one.overdue = natural < one.ends_at
            if not one.tagged and (not one.overdue or (one.ends_at is not None and now >= one.ends_at)):
                one.tagged = True
                self.tagged[self.month(now)] += 1

    def _engine(self, now: datetime, there: list[One]) -> None:
        for one in there:
            if not one.tagged or one.retention is None:
                continue
            natural = one.retention.ends_at(one.created_at)
            if natural is not None and now >= natural:
                self._stayed(one, now)
                self._early(one, now)
                one.gone = True
                continue
            due = [
                move.storage_class
                for move in one.retention.transitions
                if now >= midnight_after(one.created_at + move.after_days * DAY)
            ]
            if due and due[-1] != one.storage_class:
                self._stayed(one, now)
                self._early(one, now)
                one.storage_class, one.entered_at = due[-1], now
                self.moved[self.month(now)] += self.workload.object_count

    def _stayed(self, one: One, until: datetime) -> None:
        for number in range(self.workload.months):
            first = BEGINNING + timedelta(seconds=number * MONTH_SECONDS)
            last = first + timedelta(seconds=MONTH_SECONDS)
            overlap = min(until, last) - max(one.entered_at, first)
            if overlap > timedelta(0):
                self.seconds[number][one.storage_class] += int(overlap.total_seconds())

    def _early(self, one: One, now: datetime) -> None:
        missing = BOOK.price(one.storage_class).min_days * DAY - (now - one.entered_at)
        if missing > timedelta(0):
            usd = BOOK.usd_a_month(one.storage_class, self.workload.size_bytes, self.workload.object_count)
            self.usd[self.month(now)]["early"] += missing.total_seconds() / MONTH_SECONDS * usd  # type: ignore[assignment]


def compare(policy: Policy, workload: Workload) -> None:
    found = simulate(Scenario("it", policy), workload, BOOK)
    naive = Naive(policy, workload)
    naive.run()
    assert found.peak_bytes == naive.peak * workload.size_bytes
    for number, month in enumerate(found.months):
        assert dict(month.stored_bytes) == dict(naive.stored[number])
        assert dict(month.checkpoints) == dict(naive.kept[number])
        assert month.transitions == naive.moved[number]
        assert month.early_deletion_usd == pytest.approx(naive.usd[number]["early"])
        stored = sum(
            seconds / MONTH_SECONDS * BOOK.usd_a_month(name, workload.size_bytes, workload.object_count)
            for name, seconds in naive.seconds[number].items()
        )
        assert month.storage_usd + month.small_object_usd == pytest.approx(stored)
        arrived = sum(
            number * MONTH_SECONDS < item * workload.every_seconds <= (number + 1) * MONTH_SECONDS
            for item in range(1, found.archived + 1)
        )
        assert month.writes == arrived * workload.writes + naive.tagged[number] * (workload.object_count + 3)


def test_against_a_look_at_every_checkpoint() -> None:
    policy = Policy(
        classes=(
            RetentionClass("recent", 2),
            RetentionClass("some", 20, every=4, transitions=(Transition(3, "GLACIER_IR"),)),
            RetentionClass(
                "odd", 40, every=6, transitions=(Transition(0, "GLACIER_IR"), Transition(10, "DEEP_ARCHIVE"))
            ),
            RetentionClass("more", 70, every=24, transitions=(Transition(30, "DEEP_ARCHIVE"),)),
            RetentionClass("milestone", None, milestone="best-*", transitions=(Transition(5, "GLACIER_IR"),)),
        ),
        default="recent",
    )
    compare(policy, Workload(3 * 10**9, 3 * 3600, 4, objects=7, milestones_per_month=2))


moves = st.lists(st.integers(0, 40), max_size=2, unique=True).map(sorted)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Policies with classes that do and do not nest."""
    classes = [
        RetentionClass(
            f"c{number}",
            draw(st.none() | st.integers(1, 45)),
            every=draw(st.sampled_from([1, 2, 3, 4, 6, 7, 12, 24])),
            milestone=draw(st.sampled_from(["", "", "*", "best-*"])),
            transitions=tuple(
                Transition(days, name) for days, name in zip(draw(moves), ("GLACIER_IR", "DEEP_ARCHIVE"), strict=False)
            ),
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    return Policy(
        classes=(*classes, RetentionClass("rest", draw(st.none() | st.integers(1, 30)))),
        default=draw(st.sampled_from(["", "rest"])),
        keep_newest=draw(st.integers(0, 12)),
        notice_days=draw(st.integers(0, 5)),
    )


@settings(max_examples=60, deadline=None)
@given(
    policies(),
    st.builds(
        Workload,
        size_bytes=st.sampled_from([10_000, 5 * 10**6, 10**12]),
        every_seconds=st.sampled_from([7 * 3600, 24 * 3600, 26 * 3600, 50_001]),
        months=st.integers(1, 3),
        objects=st.sampled_from([0, 1, 9]),
        milestones_per_month=st.integers(0, 3),
    ),
)
def test_against_a_look_at_every_checkpoint_of_any_policy(policy: Policy, workload: Workload) -> None:
    compare(policy, workload)


def test_three_years_at_five_minutes() -> None:
    workload = Workload(TB, 300, 36)
    ssd = simulate(everything_on_ssd(), workload, prices.shipped())
    hdd = simulate(for_ever("HDD", "STANDARD"), workload, prices.shipped())
    default = simulate(Scenario("default", DEFAULT), workload, prices.shipped())
    # What is reckoned one by one, so that it takes a moment: a few groups a day, not each checkpoint.
    groups = cohorts(
        DEFAULT,
        every_seconds=300,
        horizon_seconds=36 * MONTH_SECONDS,
        month_seconds=MONTH_SECONDS,
        milestones=workload.milestones(),
    )
    assert sum(1 for _ in groups) < 8 * 1096
    assert ssd.archived == ssd.kept == 315_576
    assert ssd.last.total_bytes == 315_576 * TB
    assert ssd.last.cumulated_usd == pytest.approx(6 * hdd.last.cumulated_usd)
    # A triangle: half of what is there at the end, for 36 months, less half a step.
    assert hdd.last.cumulated_usd == pytest.approx(315_576 / 2 * 36 * 20, rel=1e-5)
    # 2 days and up to the next midnight every 5 minutes, 14 hourly ones, a year of daily ones, milestones for ever.
    assert default.last.checkpoints["milestone"] == 36
    assert default.last.checkpoints["daily"] in range(364, 368)
    assert default.last.checkpoints["hourly"] in range(14 * 23, 15 * 23 + 24)
    assert default.last.cumulated_usd < ssd.last.cumulated_usd / 500


def test_a_month_of_one_class_by_hand() -> None:
    """One checkpoint a day at noon would be too easy: one at each midnight, kept 3 days, noticed 2 days before."""
    policy = Policy(classes=(RetentionClass("all", 3),), default="all", keep_newest=1)
    found = simulate(Scenario("it", policy), Workload(TB, 86_400, 1, objects=1, reads_per_month=0), BOOK)
    # The one of midnight 1 ends at midnight 4; announced at midnight 2, when the next is there. So 3 lie at any time, and
    # while the fourth comes, that is to go, four.
    assert found.peak_bytes == 4 * TB
    assert found.last.total_bytes == 3 * TB
    whole_days = 27 * 3 + 2 * 0.4375 + 1.4375
    assert found.last.storage_usd == pytest.approx((27 * 3 + 2.4375 + 1.4375 + 0.4375) / 30.4375 * 20), whole_days


def test_small_objects_pay_for_what_they_are_not() -> None:
    policy = Policy(classes=(RetentionClass("all", None, transitions=(Transition(0, "DEEP_ARCHIVE"),)),), default="all")
    workload = Workload(8_192_000, 86_400, 12, objects=1000)
    found = simulate(Scenario("it", policy), workload, BOOK)
    last = found.last
    assert last.small_object_usd > last.storage_usd
    assert last.transitions in (30_000, 31_000)
    assert last.transition_usd == pytest.approx(last.transitions / 1000 * 0.05)


def test_what_ends_before_the_minimum_is_paid_for_all_the_same() -> None:
    policy = Policy(
        classes=(RetentionClass("all", 30, transitions=(Transition(0, "GLACIER_IR"),)),), default="all", keep_newest=0
    )
    found = simulate(Scenario("it", policy), Workload(TB, 86_400, 12, objects=1), BOOK)
    # Each lies 30 days in a class that bills 90.
    assert found.last.early_deletion_usd == pytest.approx(2 * found.last.storage_usd, rel=0.05)


def test_a_storage_class_without_price_is_stayed_out_of_and_said() -> None:
    found = simulate(Scenario("it", DEFAULT), Workload(TB, 3600, 12), prices.shipped("hdd"))
    assert set(found.last.stored_bytes) == {"STANDARD"}
    assert any("GLACIER_IR" in note for note in found.notes)


def test_objects_too_small_to_be_moved_stay() -> None:
    found = simulate(Scenario("it", DEFAULT), Workload(100_000, 3600, 12), prices.shipped("aws"))
    assert set(found.last.stored_bytes) == {"STANDARD"}
    assert any("too small" in note for note in found.notes)


def test_sums() -> None:
    found = simulate(Scenario("it", DEFAULT), Workload(TB, 3600, 12), BOOK)
    total = 0.0
    for month in found.months:
        total += month.total_usd
        assert month.cumulated_usd == pytest.approx(total)
    assert found.kept == sum(found.last.checkpoints.values())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size_bytes": 0}, "size_bytes is 0"),
        ({"every_seconds": 0}, "every_seconds is 0"),
        ({"months": 0}, "months is 0"),
        ({"months": 1, "every_seconds": 366 * 86_400}, "nothing is archived in 1 months"),
        ({"objects": -1}, "negative"),
    ],
)
def test_workloads_that_mean_nothing(wrong: dict[str, int], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        Workload(**{"size_bytes": 1, "every_seconds": 300, "months": 36, **wrong})


def test_restore_points() -> None:
    found = grids(DEFAULT, 300)
    assert [grid.said for grid in found] == [
        "every 5 min for 2 d",
        "every 1 h for 2 w",
        "every 1 d for 1 y",
        "milestones for ever",
    ]
    assert finest_seconds(found, 31) == 86_400
    assert finest_seconds(found, 400) is None
    assert [grid.said for grid in grids(Policy(classes=()), 90)] == ["every 1.5 min for ever"]


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert cli(["retention", "simulate", *words, "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_the_verb_without_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = rows(capsys)
    assert [row["policy"] for row in found] == [
        "everything on SSD",
        "everything on HDD",
        "default",
        "minimal-cost",
        "eu-ai-10y",
    ]
    assert [row["archived"] for row in found] == [315_576] * 5
    assert found[0]["times_ssd"] == 1
    assert found[1]["times_ssd"] == pytest.approx(1 / 6)
    assert all(row["total_usd"] < found[1]["total_usd"] / 30 for row in found[2:])
    for row in found:
        assert len(row["series"]) == 36
        assert row["series"][-1]["cumulated_usd"] == row["total_usd"]
        assert sum(row["series"][-1]["stored_bytes"].values()) == row["tb_at_the_end"] * TB
        assert any("6 times" in sentence for sentence in row["assumptions"])
    (tmp_path / "retention.toml").write_text('[classes.week]\nkeep_for = "7d"\n')
    assert [row["policy"] for row in rows(capsys)][-1] == "retention.toml"


def test_the_verb_with_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text('[classes.week]\nkeep_for = "7d"\n')
    (tmp_path / "book.toml").write_text(
        "written = 2027-01-01\nstorage.STANDARD.usd_per_tb_month = 10\nstorage.SSD.usd_per_tb_month = 40\n"
    )
    words = [
        "--policy",
        f"{tmp_path}/mine.toml",
        "--size",
        "1.5TiB",
        "--every",
        "1h",
        "--months",
        "12",
        "--objects",
        "8",
    ]
    _, hdd, mine = rows(capsys, *words, "--prices", f"{tmp_path}/book.toml")
    assert mine["size_bytes"] == 3 * 2**39
    assert (mine["every_seconds"], mine["months"], mine["objects"]) == (3600, 12, 8)
    assert hdd["times_ssd"] == pytest.approx(1 / 4)
    assert mine["kept"] in range(7 * 24, 8 * 24 + 2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", "1XB"], "that is no size"),
        (["--size", "5"], "that is no size"),
        (["--every", "1.5s"], "must be whole seconds"),
        (["--every", "0"], "every_seconds is 0"),
        (["--policy", "nowhere.toml"], "there is no policy file 'nowhere.toml'"),
        (["--prices", "gold"], "there is no price book 'gold'"),
        (["--plot", "cost.gif"], "neither a .svg nor a .png"),
        (["--months", "0"], "0 is not in the range"),
    ],
)
def test_words_that_mean_nothing(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["retention", "simulate", *words]) == 2
    assert says in capsys.readouterr().err


def test_lines_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["retention", "simulate", "--policy", "default"]) == 0
    found = capsys.readouterr()
    assert [line.split("\t")[0] for line in found.out.splitlines()] == [
        "everything on SSD",
        "everything on HDD",
        "default",
    ]
    assert "SSD is assumed to cost 6 times as much" in found.err


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_plot(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"cost.{ending}"
    assert cli(["retention", "simulate", "--plot", str(path), "-q"]) == 0
    capsys.readouterr()
    begins = path.read_bytes()[:8]
    assert begins.startswith(b"<?xml" if ending == "svg" else b"\x89PNG")
    assert path.stat().st_size < 300_000


def test_too_many_lines_for_one_plot() -> None:
    outcome = simulate(everything_on_ssd(), Workload(TB, 86_400, 2), prices.shipped())
    with pytest.raises(InvalidInputError, match="too many for one chart"):
        draw([outcome] * 9, Workload(TB, 86_400, 2), prices.shipped(), "svg")


def test_a_plot_without_matplotlib_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli(["retention", "simulate", "--plot", str(tmp_path / "cost.svg")]) == 2
    assert "pip install 'ckpt-archive[plot]'" in capsys.readouterr().err
    assert not (tmp_path / "cost.svg").exists()


def test_what_is_kept_for_longer_than_its_class_says_is_said() -> None:
    policy = Policy(classes=(RetentionClass("short", 1),), default="short", notice_days=3)
    found = simulate(Scenario("it", policy), Workload(TB, 86_400, 2), BOOK)
    assert found.notes == ("short is kept for 3 d, not 1: ends are announced so long before (notice).",)


def test_the_table_of_the_documentation(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "retention.md").read_text(encoding="utf-8")
    monkeypatch.chdir(root / "docs")  # there is no policy file
    found = (line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| "))
    lines = [cells for cells in found if len(cells) == 6 and re.fullmatch(r"1(/[0-9,]+)?", cells[4])]
    own, aws = rows(capsys), rows(capsys, "--prices", "aws")
    assert len(lines) == len(own) == 5
    for line, row, other in zip(lines, own, aws, strict=True):
        assert row["policy"] in line[0].replace("`", "")
        assert line[1] == f"{row['tb_at_the_end']:,.0f}"
        assert line[2] == f"{row['total_usd']:,.0f}"
        assert line[3] == f"{row['last_month_usd']:,.0f}"
        assert line[4] in ("1", f"1/{1 / row['times_ssd']:,.0f}")
        assert line[5] == f"{other['total_usd']:,.0f}"


@settings(max_examples=200, deadline=None)
@given(
    keep=st.none() | st.integers(1, 40),
    after=st.none() | st.integers(1, 30),
    notice=st.integers(0, 6),
    came=st.integers(1, 3 * 86_400),
    newer=st.integers(0, 5 * 86_400),
)
def test_the_plan_the_rules_and_the_engine_do_the_same(
    keep: int | None, after: int | None, notice: int, came: int, newer: int
) -> None:
    """What `apply` announces and tags at midnights, and what a lifecycle engine then does by the rules of the policy."""
    moves = () if after is None or (keep is not None and after >= keep) else (Transition(after, "GLACIER_IR"),)
    retention = RetentionClass("it", keep, transitions=moves)
    policy = Policy(classes=(retention,), default="it", notice_days=notice)
    created = BEGINNING + timedelta(seconds=came)
    tellable = -(-(came + newer) // 86_400)
    cohort = Cohort(retention, 1, came, -(-came // 86_400), tellable, 0)

    info = ObjectInfo("data/r/0/0/0/x", 1 << 20, "", created)
    now = BEGINNING + tellable * DAY
    end = ends_at(policy, retention, [info], now, None)
    rules = parse_rules([rule.to_json() for rule in rules_of(policy, "")])
    storage_class, moved, tagged = "STANDARD", None, None
    for day in range(tellable, 100):
        now = BEGINNING + day * DAY
        if tagged is None and may_tag(keep, [info], end, now):
            tagged = day
        tags = {} if tagged is None else {TAG_KEY: retention.tag}
        version = Version(info.key, "", created, info.size_bytes, tags, storage_class)
        [*due] = due_now(rules, [version], [], now, versioned=False)
        if due and due[0].act is Act.EXPIRE:
            gone = day
            break
        if due:
            storage_class, moved = due[0].storage_class, day
    else:
        gone = None

    found = life(cohort, policy)
    assert (found.tagged, found.ends) == (tagged, gone)
    assert end == (None if gone is None else BEGINNING + gone * DAY)
    ledger = Ledger(Workload(1 << 20, 86_400, 5), BOOK, policy, "STANDARD")
    stages = ledger.stages(cohort, found.tagged, found.ends)
    assert stages == [("STANDARD", None), *([("GLACIER_IR", moved)] if moved is not None else [])]
