"""Rows of all tables while they are made up, and what is the same for all of them: clocks, ids, batches of the log."""

import bisect
import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

from ckpt_archive.index import schema

Value: TypeAlias = str | int | float | bool | datetime | None
Row: TypeAlias = dict[str, Value]

EPOCH = datetime(2025, 11, 15, tzinfo=UTC)
"""When the first run begins."""

TODAY = datetime(2026, 3, 1, tzinfo=UTC)
"""The day of the questions: all that happened lies before it."""

ENTRIES_PER_BATCH = 60


def sha256(*parts: object) -> str:
    """A digest of what is named, as text."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of all tables, and the dice they are made with.

    Attributes:
        tables: Rows by table; `log_seq` and `month` come last, by `finish`.
        dice: Everything random comes from here.
    """

    dice: random.Random
    tables: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in schema.TABLES})

    def add(self, table: str, **values: Value) -> Row:
        """A row; columns that are not given are NULL.

        Raises:
            KeyError: If the schema has no such column.
        """
        declared = schema.TABLES[table]
        for name in values:
            declared.column(name)
        row: Row = {column.name: values.get(column.name) for column in declared.columns}
        self.tables[table].append(row)
        return row

    def hex_id(self) -> str:
        """32 random hexadecimal digits."""
        return f"{self.dice.getrandbits(128):032x}"

    def later(self, moment: datetime, *, most_days: float) -> datetime:
        """A later moment, in whole seconds as stores tell it, and before `TODAY` unless `moment` is not."""
        room = min(most_days * 86400, (TODAY - moment).total_seconds() - 3600)
        return (moment + timedelta(seconds=self.dice.randint(1, max(1, int(room))))).replace(microsecond=0)

    def finish(self) -> Mapping[str, list[Row]]:
        """Number the batches by the order in which things became known, and sort every table as the schema says."""
        moments = sorted({known_at(name, row) for name, rows in self.tables.items() for row in rows})
        ends = [chunk[-1] for chunk in _chunks(moments, ENTRIES_PER_BATCH)]
        entries = [0] * len(ends)
        for name, rows in self.tables.items():
            for row in rows:
                moment = known_at(name, row)
                number = bisect.bisect_left(ends, moment)
                row[schema.LOG_SEQ] = number + 1
                entries[number] += name in ("checkpoints", "launches")
                if schema.TABLES[name].monthly:
                    row[schema.MONTH] = moment.strftime("%Y-%m")
        entries = [
            count + len({row["event_id"] for row in self.tables["events"] if row[schema.LOG_SEQ] == number})
            for number, count in enumerate(entries, start=1)
        ]
        self._batches(ends, entries)
        for name, rows in self.tables.items():
            rows.sort(key=partial(_sortable, schema.TABLES[name].sort_by))
        return self.tables

    def _batches(self, ends: list[datetime], entries: list[int]) -> None:
        first_entry = 0
        for number, (end, count) in enumerate(zip(ends, entries, strict=True), start=1):
            findings = sum(row["kind"] == "finding" and row[schema.LOG_SEQ] == number for row in self.tables["events"])
            waiting = self.dice.choice([0, 0, 0, 1, 2]) if number < len(ends) else 2
            since = end - timedelta(minutes=25)
            self.add(
                "sync_log",
                sealed_at=end + timedelta(minutes=5),
                sealed_by=f"sync-{number % 3}",
                watermark=end,
                swept_at=end.replace(hour=0, minute=0, second=0),
                first_entry=first_entry,
                entries=count,
                findings=findings,
                unresolved=waiting,
                oldest_unresolved_at=since if waiting else None,
                unresolved_keys="[]" if not waiting else f'["log/pending/{since:%Y/%m/%d/%H/%Y%m%dT%H%M%S}-commit"]',
                batch_sha256=sha256("batch", number),
                log_seq=number,
            )
            first_entry += count


def _sortable(keys: tuple[str, ...], row: Row) -> tuple[Any, ...]:
    return tuple((row[key] is not None, row[key]) for key in keys)


def known_at(table: str, row: Row) -> datetime:
    """When the archive came to know what a row says."""
    moment = row[schema.TABLES[table].known_at]
    if not isinstance(moment, datetime):
        raise TypeError(f"a row of {table} is without its time: {row}")
    return moment


def _chunks(moments: list[datetime], size: int) -> Iterator[list[datetime]]:
    for start in range(0, len(moments), size):
        yield moments[start : start + size]
