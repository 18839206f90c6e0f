"""Who is struck, and when: drawn from the seed of the site."""

from collections.abc import Mapping
from types import MappingProxyType

from ckpt_archive.testing.siege.processes import Child
from ckpt_archive.testing.siege.site import Site

_CLIENTS: Mapping[str, int] = MappingProxyType({"trainer": 22, "agent": 25, "push": 18, "restore": 10})
_RECEIVER = "receiver"
_RECEIVERS = 6
_FREEZES = 0.12  # of all strikes
_LONGEST_WAIT_SECONDS = 1.0
_LOOK_SECONDS = 0.002
# Powers of two, drawn evenly: small numbers matter as much as large ones. A body is a part of 5 MiB at most.
_BITS = MappingProxyType({"up": (6, 23), "down": (6, 23), "body": (13.1, 22.2)})
_HEAD_BYTES = 8192  # larger than the head of any request
_FIRST_TRIES = 5


class Striker:
    """Strikes at a site.

    Args:
        site: Which.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._chance = site.chance

    def besiege(self, kills: int) -> None:
        """Strike until that many have died; the first is a server that holds part of an upload under way."""
        figures = self._site.figures
        goal = figures.killed + kills
        before = figures.mid_upload.total()
        for _ in range(_FIRST_TRIES):
            self._site.tend()
            self._strike_receiver()
            if figures.mid_upload.total() > before:
                break
        while figures.killed < goal:
            self._site.tend()
            self._strike()

    def _strike(self) -> None:
        weights = {**_CLIENTS, **self._site.servers.weights, _RECEIVER: _RECEIVERS}
        name = self._chance.choices(list(weights), list(weights.values()))[0]
        freezes = self._chance.random() < _FREEZES
        if name == _RECEIVER:
            self._strike_receiver()
            return
        moment = self._wait_for_a_moment(name)
        mid_upload = moment == "byte sent in a body"
        if name in _CLIENTS:
            child = self._victim(name)
            if child is not None and child.code is None:
                if freezes:
                    self._site.freeze(child)
                else:
                    self._site.kill(child, moment, mid_upload=mid_upload)
        elif (node := self._site.servers.real_name(name)) is not None:
            if freezes:
                self._site.freeze_node(name, node)
            else:
                self._site.kill_node(name, node, moment, mid_upload=mid_upload)
        if moment.startswith("byte"):
            for wire in self._site.wires.values():
                wire.go()

    def _strike_receiver(self) -> None:
        """Whoever has just stored bytes of a push that goes on."""
        site = self._site
        site.jobs.begin("push")
        site.servers.receiver()
        pushes = site.jobs.under_way("push")
        ends_at = site.clock.monotonic() + _LONGEST_WAIT_SECONDS
        while site.clock.monotonic() < ends_at and any(push.code is None for push in pushes):
            node = site.servers.receiver()
            if node is None:
                site.wait(_LOOK_SECONDS)
                continue
            name = "volume server" if node.startswith("volume") else node
            if site.kill_node(f"{name} that received", node, "byte stored"):
                site.wait(0)
                if any(push.code is None for push in pushes):
                    site.figures.mid_upload[f"{name} that received"] += 1
            return

    def _wait_for_a_moment(self, name: str) -> str:
        """A number of milliseconds, lines of a trainer, or bytes on the wire; which it was in the end."""
        kind = self._chance.choice(("time", "line", "byte", "body", "body", "body"))
        site = self._site
        if name in ("push", "restore"):
            site.jobs.begin(name)
        elif kind != "time" and name not in ("trainer", "agent"):
            site.jobs.begin("push")
        trainer = site.trainer
        if kind == "line" and name in ("trainer", "agent") and trainer is not None:
            wanted = len(trainer.lines) + self._chance.randrange(1, 9)
            if site.wait(_LONGEST_WAIT_SECONDS, lambda: len(trainer.lines) >= wanted or trainer.code is not None):
                return "line"
            return "time"
        if kind in ("byte", "body") and name != "trainer":
            return self._wait_for_a_byte(name, kind)
        site.wait(self._chance.uniform(0, 0.4))
        return "time"

    def _wait_for_a_byte(self, name: str, kind: str) -> str:
        wire = self._site.wires["agent" if name == "agent" else "jobs"]
        where = "down" if name == "restore" else "up" if kind == "byte" else "body"
        least, most = _BITS[where]
        wire.arm(where, int(2 ** self._chance.uniform(least, most)))
        unanswered = wire.reached(_LONGEST_WAIT_SECONDS)
        if unanswered is None:
            wire.go()
            return "time"
        way = "byte received" if where == "down" else "byte sent"
        return f"{way} in a body" if unanswered > _HEAD_BYTES else way

    def _victim(self, name: str) -> Child | None:
        site = self._site
        if name in ("trainer", "agent"):
            return site.trainer if name == "trainer" else site.agent
        living = site.jobs.under_way(name)
        return self._chance.choice(living) if living else None
