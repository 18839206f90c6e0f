"""What each deed of a history comes to: by whom it is done, to what, and what is promised from then on."""

import random
from collections.abc import Callable
from typing import Any

from ckpt_archive.place import Place
from ckpt_archive.retention.policy.file import load
from ckpt_archive.testing.lifecycle_engine import Due, run_engine
from ckpt_archive.testing.retained import acting, story
from ckpt_archive.testing.retained.site import Site
from ckpt_archive.testing.retained.story import Deed
from ckpt_archive.testing.retained.world import Process

Job = Callable[[], Any]

_LONGEST_WAIT_SECONDS = 20.0


class Deeds:
    """Has them done.

    Args:
        site: Where.
        seed: Of what the engine gets to.

    Attributes:
        contested: What somebody releases meanwhile: whoever holds it at the same time may come before him.
    """

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self.contested: set[tuple[Place | str, str]] = set()
        self._chance = random.Random(f"deeds {seed}")
        self._writers: dict[str, acting.Writer] = {}

    def job(self, deed: Deed, process: Process, waits: int) -> Job:
        """What a process does, after others have had so many turns."""
        job = self._chosen(deed, process)

        def begin() -> Any:
            for _ in range(waits):
                process.world.turn(process)
            return job()

        return begin

    def _chosen(self, deed: Deed, process: Process) -> Job:
        """Upon whom it falls is decided before anybody begins."""
        site = self._site
        match deed:
            case story.Work():
                return lambda: self._work(process, deed.acts)
            case story.Commit():
                return lambda: self._writer(deed.run).commit(process, deed)
            case story.Launch():
                return lambda: self._writer(deed.run).launch(process, deed.back)
            case story.Apply():
                policy = load(deed.policy.text(), "retention.toml")
                site.oracle.policy(policy.keep_newest, policy.notice_days, locks=deed.policy.locks > 0)
                return lambda: acting.apply(site, process, policy)
            case story.Maintain():
                return lambda: acting.maintain(site, process)
            case _:
                return self._kept_or_not(deed, process)

    def _kept_or_not(
        self, deed: story.Hold | story.Release | story.Drop | story.Undrop | story.Assign, process: Process
    ) -> Job:
        site = self._site
        about = self.about(deed.run, deed.which)
        match deed:
            case story.Hold():
                return lambda: self._hold(process, about, story.CASES[deed.case])
            case story.Release():
                held, case = self.held(deed)
                site.oracle.released(held, case)
                return lambda: acting.release(site, process, held, case)
            case story.Drop():
                if isinstance(about, str):
                    site.oracle.given_up.add(about)
                return lambda: acting.drop(site, process, about)
            case story.Undrop():
                dropped = self._dropped(deed)
                return lambda: self._undrop(process, dropped)
            case story.Assign():
                return lambda: acting.assign(site, process, about, deed.name)

    # --- what is promised --------------------------------------------------------------------------------------------

    def _hold(self, process: Process, about: Place | str, case: str) -> None:
        oracle, now = self._site.oracle, self._site.world.now
        over = {place for place, known in oracle.known.items() if known.is_over(now)}
        report = acting.hold(self._site, process, about, case)
        if (about, case) not in self.contested:
            oracle.held(about, case, over | set(report.over) | {item.place for item in report.gone})

    def _undrop(self, process: Process, about: Place | str) -> None:
        said = self._site.oracle.statements
        self._site.oracle.taken_back(acting.undrop(self._site, process, about).places, said)

    # --- upon whom it falls ------------------------------------------------------------------------------------------

    def about(self, run: int, which: int | None) -> Place | str:
        """A checkpoint, the newest is 0; or a run."""
        name = story.RUNS[run]
        committed = self._site.committed(name)
        return name if which is None or not committed else committed[which % len(committed)]

    def held(self, deed: story.Release) -> tuple[Place | str, str]:
        """Something that is held, if there is any."""
        held = self._site.oracle.holds()
        if not held or deed.which is None:
            return self.about(deed.run, deed.which), story.CASES[deed.case]
        return held[deed.which % len(held)]

    def _dropped(self, deed: story.Undrop) -> Place | str:
        """Something that was dropped, if there is any."""
        dropped = sorted(
            place
            for place, known in self._site.oracle.known.items()
            if any(end.tag.startswith("trash.") for end in known.current.ends)
        )
        if deed.which is None or not dropped:
            return self.about(deed.run, deed.which)
        return dropped[deed.which % len(dropped)]

    def _writer(self, run: int) -> acting.Writer:
        return self._writers.setdefault(story.RUNS[run], acting.Writer(self._site, story.RUNS[run]))

    # --- the engine --------------------------------------------------------------------------------------------------

    def _work(self, process: Process, acts: int) -> None:
        """The engine beside others: between any two of their requests it may do one thing."""
        for _ in range(acts):
            process.sleep(_LONGEST_WAIT_SECONDS * self._chance.random() ** 3)
            due = self._run_engine(lambda _: False)
            if due:
                chosen = self._chance.choice(due)
                self._run_engine(lambda item, chosen=chosen: item == chosen)  # type: ignore[misc]

    def engine(self, share: float) -> None:
        """The engine alone, which gets to a share of what is due."""
        self._run_engine(lambda _: self._chance.random() < share)

    def _run_engine(self, choose: Callable[[Due], bool]) -> list[Due]:
        """What was due; what is chosen is done."""
        all_due: list[Due] = []

        def chosen(due: Due) -> bool:
            all_due.append(due)
            return choose(due)

        for due in run_engine(self._site.bucket, chosen, smallest_moved=0):
            self._site.world.note(f"engine: {due.act} {due.key} by {due.rule_id}")
            self._site.oracle.counts[f"engine: {due.act}"] += 1
        return all_due
