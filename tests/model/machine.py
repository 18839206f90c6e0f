"""Trainers, agents and people do as they please with the real code; the reference model says what must come of it."""

import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis import target
from hypothesis.errors import InvalidArgument
from hypothesis.stateful import invariant, rule

from ckpt_archive.errors import NotFoundError, UnavailableError
from ckpt_archive.ship.push import PushReport
from ckpt_archive.testing.archives import read_tree, write_tree
from ckpt_archive.testing.hooked import Request
from tests.model.local import Ring
from tests.model.reference import Refused, Spot, Tree, is_a_tree
from tests.model.training import Training
from tests.model.world import ANY_FILES, DUO, METRICS, NODES, NUMBER, PUSHED, SOLO, Killed, facts, written


class Machine(Training):
    """Everything on a store in memory; subclasses choose another one."""

    def teardown(self) -> None:
        """The end: everything that was promised is there."""
        try:
            self.site.down = False
            self.verify_and_examine()
            with suppress(InvalidArgument):  # outside of a search
                target(float(sum(len(model.manifests) for model in self.archives.values())), label="committed")
        finally:
            for trainer in self.trainers:
                trainer.run.finish()
            self.site.close()
            shutil.rmtree(self.folder)

    # Agents

    @rule(node=st.sampled_from(NODES))
    def agent_works(self, node: str) -> None:
        self.let_work(node)

    @rule(node=st.sampled_from(NODES))
    def agent_begins_again(self, node: str) -> None:
        self.agents[node] = self.nodes[node].agent()

    @rule(node=st.sampled_from(NODES), requests=st.integers(0, 40), answered=st.booleans())
    def agent_is_killed_and_another_one_works(self, node: str, requests: int, answered: bool) -> None:
        left = requests

        def dies(request: Request) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        if answered:
            self.site.after = dies
        else:
            self.site.before = dies
        with suppress(Killed):
            self.agents[node].step()
        self.site.before = self.site.after = lambda request: None
        self.agents[node] = self.nodes[node].agent()
        self.let_work(node)

    @rule(node=st.sampled_from(NODES), which=NUMBER)
    def promote(self, node: str, which: int) -> None:
        ring = self.rings[node, SOLO]
        if ring.shares:
            chosen = ring.shares[which % len(ring.shares)]
            for share in self.nodes[node].shares(SOLO):
                if (share.launch, share.step) == (chosen.launch, chosen.step):
                    share.promote({"rule": "milestone", "name": "best"})
            chosen.promoted = True

    @rule(node=st.sampled_from(NODES))
    def node_is_lost(self, node: str) -> None:
        for trainer in self.trainers:
            if trainer.node == node:
                self.end(trainer)
        shutil.rmtree(self.folder / node, ignore_errors=True)
        self.nodes[node] = self.site.node(node)
        self.agents[node] = self.nodes[node].agent()
        for name in (SOLO, DUO):
            self.rings[node, name] = Ring()

    # The store

    @rule()
    def store_goes_or_comes(self) -> None:
        self.site.down = not self.site.down

    # People

    @rule(
        run=st.sampled_from([PUSHED, PUSHED, SOLO]),
        step=st.integers(1, 4),
        files=ANY_FILES,
        again=st.booleans(),
        anew=st.booleans(),
        writer=st.sampled_from([(0, 1), (0, 1), (0, 2), (1, 2)]),
        metrics=METRICS,
    )
    def push(
        self,
        run: str,
        step: int,
        files: Tree,
        again: bool,
        anew: bool,
        writer: tuple[int, int],
        metrics: Mapping[str, Any],
    ) -> None:
        rank, writers = writer
        archive = self.archives[run]
        if again and (known := [spot for spot in archive.manifests if spot[1] == step]):
            files = archive.manifests[max(known)]
        folder = write_tree(self.folder / f"push-{self.new_number()}", files)

        def should() -> tuple[int, str]:
            if not (files or writers > 1) or not is_a_tree(files) or (anew and writers > 1):
                raise Refused("InvalidInputError")
            if self.site.down:
                raise Refused("UnavailableError")
            attempt = archive.record(f"push:{run}", self.now, anew=anew).number
            return attempt, archive.contribute((attempt, step), rank, f"push:{run}", writers, files, facts(metrics))

        def does() -> PushReport:
            return self.archive.push(folder, run, step, rank=rank, writers=writers, new_attempt=anew, metrics=metrics)

        answers = self.expect(does, should)
        if answers is not None:
            assert (answers[0].attempt, answers[0].state) == answers[1]
        shutil.rmtree(folder)

    @rule(run=st.sampled_from([SOLO, DUO, PUSHED]), step=st.one_of(st.none(), st.integers(1, 6)))
    def restore(self, run: str, step: int | None) -> None:
        folder = self.folder / f"restored-{self.new_number()}"

        def should() -> Spot:
            if self.site.down:
                raise Refused("UnavailableError")
            return self.archives[run].find(step)

        answers = self.expect(lambda: self.archive.restore(run, step, to=folder, exact_folder=True), should)
        if answers is not None:
            assert (answers[0].attempt, answers[0].step) == answers[1]
            tree = self.archives[run].manifests[answers[1]]
            assert read_tree(folder) == tree
            shown = self.archive.show(run, answers[0].step, attempt=answers[0].attempt)
            assert {file.path: file.size_bytes for file in shown.files} == {path: len(tree[path]) for path in tree}
            assert len(shown.receipts) == len(self.archives[run].receipts[answers[1]])
            shutil.rmtree(folder)

    @rule()
    def verify_and_examine(self) -> None:
        if self.site.down:
            return
        report = self.archive.verify(deep=True)
        assert not report.findings
        assert report.checkpoints == sum(len(item.manifests) for item in self.archives.values())
        for line in self.archive.runs():
            spot = (line.newest_attempt, line.newest_step)
            assert spot == (self.archives[line.run].latest() or (None, None))
            assert (line.committed_at is None) == (spot not in self.archives[line.run].manifests)
        assert [line.run for line in self.archive.runs()] == sorted(r for r, m in self.archives.items() if m.manifests)
        said = Counter(item.what for item in self.archive.doctor())
        wanted: Counter[str] = Counter()
        for model in self.archives.values():
            for spot, shares in model.receipts.items():
                if spot not in model.manifests and spot not in model.gaps:
                    wanted["awaiting writers"] += 1
                elif spot not in model.manifests and any(any(share[2].values()) for share in shares.values()):
                    wanted["given up"] += 1
            wanted["gaps"] += len({attempt for attempt, _ in model.gaps - model.manifests.keys()})
        assert said == wanted, f"doctor says {said}, and should say {wanted}"

    @rule(node=st.sampled_from(NODES))
    def drain(self, node: str) -> None:
        """Done exactly if nothing promoted and no gap is left."""
        if not (self.folder / node).is_dir():
            return
        self.site.clock.sleep(60)
        report = self.nodes[node].daemon().drain(0)
        self.worked(node)
        rings = [self.rings[node, name] for name in (SOLO, DUO)]
        left = any(ring.missed or any(share.pinned for share in ring.shares) for ring in rings)
        assert report.done == (not left)

    @rule(requests=st.integers(0, 30), landed=st.booleans())
    def one_request_will_fail(self, requests: int, landed: bool) -> None:
        """Nobody must notice: whoever asked asks again."""
        left = requests

        def fails(request: Request) -> None:
            nonlocal left
            left -= 1
            if left == -1 and request.verb != "start_upload":
                type(self).failed += 1
                raise UnavailableError("the answer was lost", hint="Try again.")

        if landed:
            self.site.after = fails
        else:
            self.site.before = fails

    # What holds at any time

    @invariant()
    def archive_holds_what_the_model_holds(self) -> None:
        down, self.site.down = self.site.down, False
        for run, model in self.archives.items():
            try:
                listed = self.archive.checkpoints(run)
            except NotFoundError:
                listed = []
            assert [(item.attempt, item.step) for item in listed] == sorted(model.manifests, reverse=True)
            for item in listed:
                tree = model.manifests[item.attempt, item.step]
                assert (item.files, item.size_bytes) == (len(tree), sum(map(len, tree.values())))
                assert {**item.labels, "metrics": written(item.metrics)} == model.facts[item.attempt, item.step][0]
            try:
                place = self.archive.find(run)
                latest = (place.attempt, place.step)
            except NotFoundError:
                latest = None
            assert latest == model.latest()
        self.site.down = down

    @invariant()
    def rings_hold_what_the_model_holds(self) -> None:
        for (node, run), model in self.rings.items():
            here, wanted = sorted(self.nodes[node].ring(run)), sorted((item.launch, item.step) for item in model.shares)
            assert here == wanted, f"{node} holds {here} of {run}, and should hold {wanted}"
