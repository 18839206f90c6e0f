"""Draws histories from seeds."""

import random
from collections.abc import Sequence
from dataclasses import replace

from ckpt_archive.testing.retained.story import (
    ASSIGNED,
    Actor,
    Apply,
    Assign,
    Commit,
    Deed,
    Drop,
    Engine,
    History,
    Hold,
    Launch,
    Maintain,
    Pass,
    PolicyText,
    Release,
    Scene,
    Step,
    ToEnd,
    Undrop,
    Work,
    alone,
)
from ckpt_archive.testing.retained.world import Blow, Strike

_WORKS = 0.25
_KEEPS = (1, 2, 3, 5, 9, 14)
_MOST_REQUESTS = 90


def draw(seed: int) -> History:
    """The history of a seed: each second one is short, and nobody comes to help in the end."""
    drawing = _Drawing(seed)
    return (drawing.history, drawing.corner, drawing.history, drawing.race)[seed % 4]()


class _Drawing:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._chance = random.Random(f"story {seed}")
        self._runs = self._chance.choice((1, 1, 2))
        self._object_lock = self._chance.random() < 0.3
        # Others change their policy often, and K with it.
        self._same_k = self._chance.choice((1, 2, 2, 3, None, None))
        self._violence = self._chance.choice((0.0, 0.4, 0.8))
        self._crowd = self._chance.choice((0.1, 0.4, 0.8))
        self._dies_after = self._chance.random() if self._chance.random() < 0.25 else 1.0

    def history(self) -> History:
        chance = self._chance
        steps: list[Step] = [alone(Launch(run)) for run in range(self._runs)]
        steps += [alone(Commit(run)) for run in range(self._runs) for _ in range(chance.randint(1, 4))]
        steps.append(Scene((self._actor(Apply(self._policy())),)))
        count = chance.randint(8, 40)
        for number in range(count):
            steps += self._some(maintained=number < count * self._dies_after)
        return History(
            self._seed,
            versioned=self._object_lock or chance.random() < 0.2,
            object_lock=self._object_lock,
            transitions=chance.random() < 0.7,
            insists=chance.random() < 0.5,
            steps=tuple(steps),
        )

    def corner(self) -> History:
        """Some checkpoints that end, somebody who changes that while others work, and then the engine alone."""
        chance = self._chance
        self._runs, self._crowd = 1, chance.choice((0.0, 0.5, 0.8))
        policy = replace(self._policy(), recent=chance.choice((1, 3)))
        steps: list[Step] = [alone(Launch(0)), *[alone(Commit(0))] * chance.randint(3, 5)]
        if chance.random() < 0.8:
            steps.append(alone(Apply(policy)))
            steps += [Pass(chance.choice((1, 24, 24))), alone(Maintain())]
        if chance.random() < 0.3:
            steps.append(alone(Drop(0, chance.randrange(6))))
        steps.append(chance.choice((Pass(1), Pass(20), ToEnd(-64), ToEnd(-2))))
        deeds = [self._change(policy)]
        deeds += [self._change(policy)] * (chance.random() < 0.3)
        deeds += [chance.choice((Maintain(), Apply(self._policy())))] * (chance.random() < 0.5)
        deeds += [Work(chance.randint(4, 12))] * (chance.random() < 0.4)
        strikes = (Strike(chance.choice(tuple(Blow)), chance.randrange(60)),) if chance.random() < 0.8 else ()
        beside = tuple(Actor(deed, self._pauses()) for deed in deeds[1:])
        steps.append(Scene((Actor(deeds[0], strikes, waits=chance.choice((0, 0, chance.randrange(80)))), *beside)))
        for _ in range(chance.randint(1, 4)):
            steps += [ToEnd(chance.choice((-59, -1, 30))), Engine(1.0)]
        return History(
            self._seed,
            versioned=self._object_lock,
            object_lock=self._object_lock,
            transitions=True,
            insists=False,
            steps=tuple(steps),
        )

    def race(self) -> History:
        """Somebody tags, and somebody else wants to keep the same checkpoint."""
        chance = self._chance
        policy = replace(self._policy(), keep_newest=1, recent=chance.choice((1, 3, 9)))
        steps: list[Step] = [alone(Launch(0)), *[alone(Commit(0))] * chance.randint(2, 4)]
        change = chance.choice((Hold(0, 1, 0), Hold(0, 2, 0), Hold(0, None, 0), Assign(0, 1, "keeper"), Launch(0, 1)))
        # One stands still for a moment, and the other begins and ends meanwhile.
        at = chance.randrange(35, 100)
        passing = Actor(Apply(policy), (Strike(Blow.PAUSES, at),))
        steps.append(Scene((passing, Actor(change, waits=at + 30))))
        for _ in range(2):
            steps += [ToEnd(30), Engine(1.0)]
        return History(self._seed, self._object_lock, self._object_lock, True, False, tuple(steps))

    def _pauses(self) -> tuple[Strike, ...]:
        chance = self._chance
        return tuple(Strike(Blow.PAUSES, chance.randrange(10, 110)) for _ in range(chance.choice((0, 1, 3))))

    def _change(self, policy: PolicyText) -> Deed:
        """Somebody changes what becomes of a checkpoint."""
        chance = self._chance
        which = chance.randrange(1, 5)
        kinds = ("hold", "hold", "hold", "undrop", "assign", "apply", "drop", "launch")
        match chance.choice(kinds):
            case "hold":
                return Hold(0, None if chance.random() < 0.2 else which, 0)
            case "undrop":
                return Undrop(0, which)
            case "assign":
                return Assign(0, which, chance.choice(ASSIGNED))
            case "drop":
                return Drop(0, which)
            case "launch":
                return Launch(0, which)
        return Apply(replace(policy, recent=chance.choice((1, 5, None)), keep_newest=chance.choice((1, 2, 3))))

    def _some(self, *, maintained: bool) -> Sequence[Step]:
        chance = self._chance
        match chance.choices(("time", "end", "engine", "scene", "day"), (3, 3, 4, 8, 3))[0]:
            case "time":
                return [Pass(chance.choice((0.1, 1, 5, 13, 24, 30, 80, 240)))]
            case "end":
                return [ToEnd(chance.choice((-1500, -70, -61, -59, -30, -1, 0, 1, 30, 600)))]
            case "engine":
                return [Engine(chance.choice((0.3, 0.6, 1.0)))]
            case "day":
                quiet: list[Step] = [Pass(24.0)]
                return [*quiet, *([alone(Maintain())] if maintained else []), Engine(chance.choice((0.5, 1.0)))]
        deeds = [self._deed(maintained=maintained)]
        while chance.random() < self._crowd and len(deeds) < 3:
            deeds.append(self._deed(maintained=maintained))
        if chance.random() < _WORKS:
            deeds.append(Work(chance.randint(1, 12)))
        return [Scene(tuple(self._actor(deed) for deed in deeds))]

    def _actor(self, deed: Deed) -> Actor:
        chance = self._chance
        strikes: list[Strike] = []
        if isinstance(deed, Work):
            return Actor(deed)
        while chance.random() < self._violence and len(strikes) < 3:
            strikes.append(Strike(chance.choice(tuple(Blow)), int(_MOST_REQUESTS * chance.random() ** 2)))
        waits = chance.choice((0, 0, chance.randrange(80)))
        return Actor(deed, tuple(strikes), chance.choice((0, 0, 0, -48, -7, 5, 48)), waits)

    def _deed(self, *, maintained: bool) -> Deed:
        chance = self._chance
        run = chance.randrange(self._runs)
        which = chance.randrange(12)
        kinds = {"commit": 8, "launch": 2, "hold": 2, "release": 2, "drop": 1.5, "undrop": 1, "assign": 2}
        kinds |= {"apply": 2, "maintain": 8} if maintained else {}
        match chance.choices(tuple(kinds), tuple(kinds.values()))[0]:
            case "commit":
                return Commit(
                    run,
                    writers=chance.choice((1, 1, 2)),
                    spread_hours=chance.choice((0, 0, 0, 3, 30, 100)),
                    milestone=chance.choice(("", "", "", "best")),
                    said=chance.choice(("", "", "", "", "short", "long")),
                    late=chance.random() < 0.1,
                )
            case "launch":
                return Launch(run, chance.choice((None, 1, 2, 4)))
            case "hold":
                return Hold(run, None if chance.random() < 0.2 else which, chance.randrange(2))
            case "release":
                return Release(run, None if chance.random() < 0.3 else which, chance.randrange(2))
            case "drop":
                return Drop(run, None if chance.random() < 0.1 else which)
            case "undrop":
                return Undrop(run, None if chance.random() < 0.2 else which)
            case "assign":
                return Assign(run, which, chance.choice(ASSIGNED))
            case "apply":
                return Apply(self._policy())
        return Maintain()

    def _policy(self) -> PolicyText:
        chance = self._chance
        hourly = chance.choice(_KEEPS[1:])
        return PolicyText(
            keep_newest=self._same_k or chance.choice((1, 2, 3)),
            notice=chance.choice((1, 2, 2, 4)),
            recent=chance.choice((*_KEEPS, None)),
            hourly=hourly,
            long=chance.choice((10, 20, 33)),
            moves=hourly > 2 and chance.random() < 0.3,
            locks=min(hourly, chance.choice((1, 3))) if self._object_lock and chance.random() < 0.6 else 0,
        )
