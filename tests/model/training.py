"""Trainers start, save, wait, resume, restore, go back and end."""

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, initialize, multiple, rule

from ckpt_archive.local.launches import load_launches
from ckpt_archive.promotion import Every
from ckpt_archive.restore.result import Restored
from ckpt_archive.testing.site import write
from tests.model.local import Decided, Launch, Promotes
from tests.model.reference import Refused, Tree, is_a_tree
from tests.model.world import ANY_FILES, CONTENT, DUO, METRICS, NODES, RULES, SOLO, Trainer, World, facts


class Training(World):
    """What trainers do."""

    solos = Bundle("solos")
    duos = Bundle("duos")

    @rule(target=solos, node=st.sampled_from(NODES), keep=st.integers(1, 3), every=RULES)
    def start_solo(self, node: str, keep: int, every: tuple[int, int | None]) -> Trainer:
        return self.start(node, SOLO, f"key-{self.new_number()}", 0, keep, every)

    @initialize(target=solos, keep=st.integers(1, 3), every=RULES)
    def two_begin(self, keep: int, every: tuple[int, int | None]) -> Any:
        return multiple(*(self.start_solo(node, keep, every) for node in NODES))

    @initialize(target=duos)
    def a_pair_begins(self) -> Any:
        return self.start_duo((2, 1))

    @rule(target=solos, node=st.sampled_from(NODES))
    def start_solo_again(self, node: str) -> Any:
        """With the key of the newest launch, if that has ended."""
        launches = self.rings[node, SOLO].launches
        if not launches or launches[-1].living:
            return multiple()
        for before in self.trainers:
            if before.node == node and before.key == launches[-1].key:
                return self.start(node, SOLO, before.key, 0, before.keep, before.rule)
        return multiple()

    @rule(target=duos, rule=st.sampled_from([(1, None), (2, 1)]))
    def start_duo(self, rule: tuple[int, int | None]) -> Any:
        for trainer in self.trainers:
            if trainer.name == DUO:
                self.end(trainer)
        key = f"key-{self.new_number()}"
        return multiple(*(self.start(node, DUO, key, rank, 2, rule) for rank, node in enumerate(NODES)))

    def start(self, node: str, name: str, key: str, rank: int, keep: int, every: tuple[int, int | None]) -> Trainer:
        writers = 1 if name == SOLO else 2
        run = self.nodes[node].run(
            name,
            launch_key=key,
            rank=rank,
            writers=writers,
            keep_local=keep,
            promote=Every(*every),
            labels={"key": key},
        )
        trainer = Trainer(node, name, key, rank, keep, every, run)
        self.trainers.append(trainer)
        return trainer

    @rule(trainer=consumes(solos))
    def end_solo(self, trainer: Trainer) -> None:
        self.end(trainer)

    @rule(trainer=st.one_of(solos, duos), works=st.booleans(), last=st.booleans())
    def flush(self, trainer: Trainer, works: bool, last: bool) -> None:
        """Wait for a moment, at the end perhaps, in which the agent works or does not."""
        if not trainer.alive:
            return
        self.site.clock.sleep(60)
        ring = self.ring(trainer)
        waits = any(share.pinned for share in ring.shares)

        def work() -> None:
            self.site.clock.meanwhile = lambda: None  # one pass; and the agent itself may sleep
            self.agents[trainer.node].step()

        if works:
            self.site.clock.meanwhile = work
        try:
            done = (trainer.run.finish if last else trainer.run.flush)(timeout_seconds=0.15)
        finally:
            self.site.clock.meanwhile = lambda: None
        if works and waits:
            self.worked(trainer.node)
        left = [share for share in ring.shares if share.pinned]
        assert done == (not left), f"flush says {done}, and {left} are left"
        if last:
            self.end(trainer)

    def end(self, trainer: Trainer) -> None:
        trainer.run.finish()
        if trainer.alive and trainer.launch is not None:
            trainer.launch.living -= 1
        trainer.alive = False

    def begun(self, trainer: Trainer) -> Launch:
        """The model's launch of a trainer, begun if need be."""
        if trainer.launch is None:
            trainer.launch = self.ring(trainer).begin(trainer.key, trainer.writers, trainer.keep, self.now)
        return trainer.launch

    @rule(trainer=solos, ahead=st.sampled_from([1, 1, 1, 2, 0]), files=ANY_FILES, metrics=METRICS)
    def save_solo(self, trainer: Trainer, ahead: int, files: Tree, metrics: Mapping[str, Any]) -> None:
        self.save(trainer, trainer.newest + ahead, files, metrics)

    @rule(
        trainer=duos, ahead=st.sampled_from([1, 1, 1, 0]), content=CONTENT, shared=st.sampled_from([b"1", b"1", b"2"])
    )
    def save_duo(self, trainer: Trainer, ahead: int, content: bytes, shared: bytes) -> None:
        self.save(trainer, trainer.newest + ahead, {f"rank-{trainer.rank}": content, "config.json": shared}, {})

    def save(self, trainer: Trainer, step: int, files: Tree, metrics: Mapping[str, Any]) -> None:
        if not trainer.alive:
            return
        checkpoint = trainer.run.checkpoint(step, metrics=metrics)
        with checkpoint:
            write(checkpoint, files)
        ring, launch = self.ring(trainer), self.begun(trainer)
        if trainer.restored is not None:
            if launch.decided is None and not any(share.launch == launch.ordinal for share in ring.shares):
                launch.decided = trainer.restored
            trainer.restored = None
        if not is_a_tree(files) or not (files or trainer.writers > 1):
            expected = False, False
            ring.missed[launch.ordinal, step, trainer.rank] = None
        else:
            expected = ring.seal(
                launch, step, trainer.rank, files, Promotes(*trainer.rule), facts(metrics, trainer.key)
            )
            trainer.newest = step
        assert (checkpoint.staged, checkpoint.duplicate) == expected

    @rule(trainer=solos)
    def resume_solo(self, trainer: Trainer) -> None:
        if trainer.alive:
            ring, launch = self.ring(trainer), self.begun(trainer)
            self.restore_as(trainer, trainer.run.resume, lambda: ring.resume(launch, self.of(SOLO), self.now))

    @rule(trainer=solos)
    def restore_latest(self, trainer: Trainer) -> None:
        if trainer.alive:
            ring, launch = self.ring(trainer), self.begun(trainer)
            self.restore_as(trainer, trainer.run.restore, lambda: ring.restore_latest(launch, self.of(SOLO), self.now))

    @rule(trainer=duos)
    def resume_duo(self, trainer: Trainer) -> None:
        if trainer.alive:
            ring, launch = self.ring(trainer), self.begun(trainer)
            self.restore_as(
                trainer,
                trainer.run.resume,
                lambda: ring.resume_recorded(launch, trainer.rank, self.of(DUO), self.now),
            )

    @rule(trainer=solos, step=st.integers(1, 6))
    def restore_solo(self, trainer: Trainer, step: int) -> None:
        if trainer.alive:
            ring = self.ring(trainer)
            found = self.restore_as(trainer, lambda: trainer.run.restore(step), lambda: ring.find(step, self.of(SOLO)))
            if found is not None:
                trainer.restored = Decided(found.point, found.spot, chosen=True)

    @rule(trainer=solos, step=st.integers(1, 6))
    def roll_back(self, trainer: Trainer, step: int) -> None:
        if not trainer.alive:
            return
        ring = self.ring(trainer)

        def should() -> Decided:
            archive = self.of(SOLO)
            if archive is None:
                raise Refused("UnavailableError")
            found = ring.find(step, archive)
            if found.point is not None:
                origin = ring.launches[found.point[0]]
                found = Decided(found.point, (ring.number(origin, archive, self.now).number, step))
            if trainer.launch is not None:
                trainer.launch.living -= 1
            launch = ring.begin(f"rollback-{self.new_number()}", 1, trainer.keep, self.now)
            launch.attempt = archive.record(launch.key, self.now, origin=found.spot, chosen=True)
            launch.decided = Decided(found.point, found.spot, chosen=True)
            trainer.launch = launch
            trainer.newest = step
            return found

        self.restore_as(trainer, lambda: trainer.run.rollback(step), should)
        if len(load_launches(self.nodes[trainer.node].of(SOLO))) > len(ring.launches):
            # Refused when it had begun already. It stays: its record may have landed, and answer "latest" from then on.
            if trainer.launch is not None:
                trainer.launch.living -= 1
            trainer.launch = ring.begin(f"refused-{self.new_number()}", 1, trainer.keep, self.now)

    @rule(target=solos, trainer=solos, steps=st.integers(1, 3), back=st.integers(1, 6))
    def go_back_and_die_at_once(self, trainer: Trainer, steps: int, back: int) -> Any:
        """The next launch must go on from there, and not from what was abandoned."""
        if not trainer.alive:
            return multiple()
        for _ in range(steps):
            self.save(trainer, trainer.newest + 1, {"model.bin": b"%d" % trainer.newest}, {})
        self.roll_back(trainer, back)
        self.end(trainer)
        following = self.start_solo(trainer.node, trainer.keep, trainer.rule)
        self.resume_solo(following)
        return following

    def restore_as(
        self, trainer: Trainer, does: Callable[[], Restored | None], should: Callable[[], Decided | None]
    ) -> Decided | None:
        """Restore in a trainer."""
        answers = self.expect(does, should)
        if answers is None:
            return None
        found: Decided | None = answers[1]
        self.check_restored(trainer.node, trainer.name, answers[0], found)
        if found is not None:
            trainer.newest = max(trainer.newest, answers[0].step)
        return found
