"""What must be so in the log's feed: every record is announced, before it is there, by a marker that names it.

It reads what is stored as the plain JSON that it is, and shares no code with what it judges.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ckpt_archive.testing.simulation.bucket import Bucket

_STAMP = r"(?P<stamp>(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)T(?P<hour>\d\d)\d{4})"
_DAY = r"(\d{4})/(\d\d)/(\d\d)"
MARKER = re.compile(
    rf"log/pending/{_DAY}/(\d\d)/{_STAMP}-(?P<kind>commit|launch|decision|event)-(?P<id>[0-9a-f]{{32}})\.json"
)
EVENT = re.compile(rf"log/events/{_DAY}/{_STAMP}-(?P<kind>[a-z][a-z-]*)-(?P<id>[0-9a-f]{{32}})\.json")


class Feed:
    """Judges markers and events.

    Args:
        bucket: What is stored.
        has_been: Whether (run, attempt, step) was committed, or is excused.
    """

    def __init__(self, bucket: Bucket, has_been: Callable[[tuple[str, int, int]], bool]) -> None:
        self._bucket = bucket
        self._has_been = has_been
        # The key that a marker names, by its kind and id; None where it came wrong.
        self._named: dict[tuple[str, str], str | None] = {}

    def marker(self, match: re.Match[str], data: bytes) -> None:
        """A marker has become visible."""
        self._check_filed(match)
        fields = json.loads(data)
        kind, identity = match["kind"], match["id"]
        assert fields["kind"] == kind, f"{match[0]} is a {fields['kind']} marker"
        told = fields["id"] if kind == "event" else fields["manifest" if kind == "commit" else "record"][:32]
        assert told == identity, f"{match[0]} says that it is {told}"
        self._named[kind, identity] = _named(kind, fields)

    def marker_came_wrong(self, match: re.Match[str]) -> None:
        """A store that does not look has taken a marker with wrong bytes."""
        self._named.setdefault((match["kind"], match["id"]), None)

    def event(self, match: re.Match[str], data: bytes) -> None:
        """An event has become visible."""
        self._check_filed(match)
        fields = json.loads(data)
        assert (fields["event"], fields["id"]) == (match["kind"], match["id"]), f"{match[0]} is another event"
        self.check_marked(match[0], "event", match["id"])
        for place in fields["places"]:
            at = place["run"], place["attempt"], place["step"]
            assert self._has_been(at), f"{match[0]} is about {at}, which was never committed"

    def check_marked(self, key: str, kind: str, identity: str) -> None:
        """A record has become visible: a marker that names it was there before."""
        marked = (kind, identity) in self._named
        assert marked, f"{key} was created before the marker that tells of it"
        named = self._named[kind, identity]
        assert named in (None, key), f"the marker of {key} names {named}"

    def _check_filed(self, match: re.Match[str]) -> None:
        """By the store's clock, and not later than now: whoever has listed so far goes on from there."""
        filed = match.groups()[: match.re.groupindex["stamp"] - 1]
        stamp = tuple(match[name] for name in ("year", "month", "day", "hour"))
        assert filed == stamp[: len(filed)], f"{match[0]} lies in the folder of another time"
        now = self._bucket.objects[match[0]].info.modified
        assert now is not None
        assert match["stamp"] <= f"{now:%Y%m%dT%H%M%S}", f"{match[0]} is of a time that has not come: it is {now}"


def _named(kind: str, fields: dict[str, Any]) -> str:
    """The key of the record that a marker names."""
    if kind == "event":
        stamp = datetime.fromisoformat(fields["recorded_at"])
        return f"log/events/{stamp:%Y/%m/%d}/{stamp:%Y%m%dT%H%M%S}-{fields['event']}-{fields['id']}.json"
    run, attempt = fields["run"], fields["attempt"]
    if kind == "launch":
        return f"runs/{run}/attempts/{99_999_999 - attempt:08d}.json"
    if kind == "decision":
        return f"runs/{run}/decisions/{attempt:08d}/{fields['step']:012d}.json"
    return f"manifests/{run}/{99_999_999 - attempt:08d}/{999_999_999_999 - fields['step']:012d}.json"
