"""What a node must answer for one run: its launches, its ring, and where a launch goes on; beside `reference.py`."""

from dataclasses import dataclass, field

from tests.model.reference import Archived, Attempt, Facts, Point, Refused, Spot, Tree


@dataclass
class Decided:
    """Where a launch goes on from."""

    point: Point | None = None
    spot: Spot | None = None
    chosen: bool = False


@dataclass
class Launch:
    """A launch on a node."""

    ordinal: int
    key: str
    writers: int
    keep: int
    began: float
    living: int = 0
    decided: Decided | None = None
    attempt: Attempt | None = None


@dataclass
class Share:
    """What one writer sealed."""

    launch: int
    step: int
    rank: int
    saves: int
    tree: Tree
    promoted: bool
    facts: Facts
    state: str = ""  # "archived" or "gap"

    @property
    def pinned(self) -> bool:
        return self.promoted and not self.state


@dataclass
class Ring:
    """One run on one node."""

    launches: list[Launch] = field(default_factory=list)
    shares: list[Share] = field(default_factory=list)
    missed: dict[tuple[int, int, int], None] = field(default_factory=dict)  # (launch, step, rank) not told yet

    def begin(self, key: str, writers: int, keep: int, now: float) -> Launch:
        known = next((item for item in self.launches if item.key == key), None)
        if known is None:
            known = Launch(len(self.launches), key, writers, keep, now)
            self.launches.append(known)
        known.living += 1
        return known

    def of(self, point: Point) -> list[Share]:
        return [item for item in self.shares if (item.launch, item.step) == point]

    def points(self) -> list[Share]:
        """What can be resumed from here, oldest first."""
        counts = [item for item in self.shares if not ((known := self.launches[item.launch].attempt) and known.late)]
        return sorted(counts, key=lambda item: (item.launch, item.saves))

    def seal(
        self, launch: Launch, step: int, rank: int, tree: Tree, promotes: "Promotes", facts: Facts
    ) -> tuple[bool, bool]:
        """Save: (staged, duplicate)."""
        mine = [item for item in self.shares if item.rank == rank]
        saves = max((item.saves for item in mine), default=0) + 1
        new = Share(launch.ordinal, step, rank, saves, tree, promotes(step, saves), facts)
        first = next((item for item in mine if (item.launch, item.step) == (launch.ordinal, step)), None)
        if first is not None and first.tree == tree:
            first.promoted |= new.promoted
            return True, True
        if first is not None:
            if first.promoted or first.state == "archived":
                return False, True
            self.shares.remove(first)
        self.shares.append(new)
        return True, False

    def number(self, launch: Launch, archive: Archived, now: float) -> Attempt:
        """The launch's attempt; what it went on from gets its number first."""
        if launch.attempt is None:
            decided = launch.decided or Decided()
            spot = decided.spot
            if decided.point is not None and decided.point[0] < launch.ordinal:
                spot = (self.number(self.launches[decided.point[0]], archive, now).number, decided.point[1])
            before = [
                item.attempt for item in self.launches[: launch.ordinal] if item.attempt and not item.attempt.late
            ]
            launch.attempt = archive.record(
                launch.key,
                now,
                origin=spot,
                chosen=decided.chosen,
                ended_since=None if launch.living else launch.began,
                after=before[-1].number if before else -1,
            )
        return launch.attempt

    def ship(self, archive: Archived, now: float) -> None:
        """A pass of the agent, with an archive that answers; what it then evicts, `kept` says."""
        for launch in self.launches:
            shares = sorted((s for s in self.shares if s.launch == launch.ordinal), key=lambda s: (s.saves, s.rank))
            missed = [item for item in self.missed if item[0] == launch.ordinal]
            undecided = launch.writers == 1 and launch.living and not shares and launch.decided is None
            if undecided or not (shares or missed or launch.decided):
                continue
            attempt = self.number(launch, archive, now).number
            for _, step, rank in missed:
                del self.missed[launch.ordinal, step, rank]
                if not any(item.rank == rank and item.state != "gap" for item in self.of((launch.ordinal, step))):
                    archive.gaps.add((attempt, step))
            for share in shares:
                if share.pinned:
                    self._ship_share(archive, launch, share, (attempt, share.step))

    def _ship_share(self, archive: Archived, launch: Launch, share: Share, spot: Spot) -> None:
        if launch.writers > 1 and spot in archive.gaps:
            share.state = "gap"
            return
        try:
            if archive.contribute(spot, share.rank, launch.key, launch.writers, share.tree, share.facts) != "awaiting":
                share.state = "archived"
        except Refused:
            share.state = "gap"
            archive.gaps.add(spot)

    def kept(self) -> list[Share]:
        """What an eviction leaves of the shares of one writer."""
        newest = sorted(self.shares, key=lambda item: (item.launch, item.saves), reverse=True)
        if not newest:
            return []
        stay = {(item.launch, item.step) for item in newest[: self.launches[newest[0].launch].keep]}
        for launch in reversed(self.launches):
            if any(item.launch == launch.ordinal for item in newest):
                break
            if launch.decided is not None:  # its own checkpoint is still to come
                stay |= self._places(launch.decided)
        return [item for item in self.shares if item.pinned or (item.launch, item.step) in stay]

    def _places(self, decided: Decided) -> set[Point]:
        found = {decided.point} if decided.point is not None else set()
        if decided.spot is not None:
            for launch in self.launches:
                if launch.attempt is not None and launch.attempt.number == decided.spot[0]:
                    found.add((launch.ordinal, decided.spot[1]))
        return found

    def resume(self, launch: Launch, archive: Archived | None, now: float) -> Decided | None:
        """Where a launch of one writer goes on; None for a fresh start. `archive` is None while it does not answer."""
        own = [item for item in self.points() if item.launch == launch.ordinal]
        if own:
            return Decided(point=(launch.ordinal, own[-1].step))
        if launch.decided is not None:
            return self.follow(launch.decided, archive, now)
        if archive is None:
            launch.decided = self.alone(launch)
            return launch.decided
        self.number_earlier(launch, archive, now)
        choice = self.choose(archive)
        if choice.spot is None and self.points():
            # The archive knows nothing to go on from, and this node does: only newer launches, without numbers yet, saved.
            try:
                point = self.alone(launch).point
            except Refused:
                point = (self.points()[-1].launch, self.points()[-1].step)
            assert point is not None
            choice = Decided(point, (self.number(self.launches[point[0]], archive, now).number, point[1]))
        if choice.point is None and choice.spot is not None and choice.spot not in archive.manifests:
            raise Refused("NotFoundError")  # somebody chose it, and it is neither here nor there
        launch.attempt = archive.record(launch.key, now, origin=choice.spot)
        launch.decided = choice
        return choice if choice.spot is not None else None

    def restore_latest(self, launch: Launch, archive: Archived | None, now: float) -> Decided:
        """What `restore("latest")` gives a single writer: as good as a resume."""
        found = self.resume(launch, archive, now)
        if found is None:
            raise Refused("NotFoundError")
        return found

    def resume_recorded(self, launch: Launch, rank: int, archive: Archived | None, now: float) -> Decided | None:
        """The same for one of several writers: what the launch's record says."""
        if any((item.launch, item.rank) == (launch.ordinal, rank) for item in self.shares):
            raise Refused("ConflictError")
        if launch.decided is None:
            if archive is None:
                raise Refused("UnavailableError")
            self.number_earlier(launch, archive, now)
            launch.attempt = archive.record(launch.key, now, origin=archive.latest())
            launch.decided = Decided(spot=launch.attempt.origin)
        return self.follow(launch.decided, archive, now)

    def number_earlier(self, launch: Launch, archive: Archived, now: float) -> None:
        for earlier in self.launches[: launch.ordinal]:
            if earlier.decided is not None or any(item.launch == earlier.ordinal for item in self.shares):
                self.number(earlier, archive, now)

    def choose(self, archive: Archived) -> Decided:
        """The newest launch that has a checkpoint anywhere answers, and nothing from before the last choice."""
        latest, last = archive.latest(), archive.on_time()
        branch = 0 if last is None else last.branch
        here = [
            ((known.number, item.step), (item.launch, item.step))
            for item in self.points()
            if (known := self.launches[item.launch].attempt) is not None
        ]
        newest = max((pair for pair in here if pair[0][0] >= branch), default=None)
        if newest is not None and (latest is None or latest[0] < branch or newest[0] > latest):
            return Decided(newest[1], newest[0])
        return Decided(next((point for spot, point in here if spot == latest), None), latest)

    def alone(self, launch: Launch) -> Decided:
        """The same while the archive does not answer, if this node's own launches tell."""
        points = [(item.launch, item.step) for item in self.points()]
        for earlier in reversed(self.launches[: launch.ordinal]):
            own = [point for point in points if point[0] == earlier.ordinal]
            if own:
                return Decided(point=own[-1])
            decided = earlier.decided
            if decided is not None and (decided.point or decided.spot):
                here = self._places(decided).intersection(points)
                if not here:
                    break
                if decided.chosen:
                    return Decided(point=max(here))
        raise Refused("UnavailableError")

    def follow(self, decided: Decided, archive: Archived | None, now: float) -> Decided | None:
        """What a launch decided before."""
        if decided.point is None and decided.spot is None:
            return None
        if decided.point is not None and self.of(decided.point):
            return decided
        if archive is None:
            raise Refused("UnavailableError")
        spot = decided.spot
        if decided.point is not None:
            spot = (self.number(self.launches[decided.point[0]], archive, now).number, decided.point[1])
        if spot not in archive.manifests:
            raise Refused("NotFoundError")
        return Decided(spot=spot)

    def find(self, step: int, archive: Archived | None) -> Decided:
        """A step, in the ring or the archive: of the newest attempt that has it; without a number: not there yet."""
        found: list[tuple[float, int, Decided]] = []
        for item in self.shares:
            if item.step == step:
                known = self.launches[item.launch].attempt
                number = float("inf") if known is None else float(known.number)
                found.append((number, item.launch, Decided(point=(item.launch, step))))
        if archive is not None and any(spot[1] == step for spot in archive.manifests):
            spot = archive.find(step)
            found.append((float(spot[0]), -1, Decided(spot=spot)))
        if not found:
            raise Refused("UnavailableError" if archive is None else "NotFoundError")
        return max(found, key=lambda item: item[:2])[2]


class Promotes:
    """Which saves are promoted."""

    def __init__(self, count: int, interval: int | None) -> None:
        self.count, self.interval = count, interval

    def __call__(self, step: int, saves: int) -> bool:
        if self.interval is None:
            return saves % self.count == 0
        return step % self.interval == 0 and step // self.interval % self.count == 0
