"""Values of an answer as they are shown and written. Values only."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from ckpt_archive import clock
from ckpt_archive.strictjson import Json

_NUMERIC = (
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
    "FLOAT", "DOUBLE", "DECIMAL", "NUMBER",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AnswerColumn:
    """A column of an answer.

    Attributes:
        name: Its heading.
        type: DuckDB's name of its type.
    """

    name: str
    type: str

    @property
    def is_numeric(self) -> bool:
        """Whether its values are numbers."""
        return self.type.partition("(")[0] in _NUMERIC


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question, in memory.

    Attributes:
        columns: Its columns.
        rows: Their values, in order.
        has_more: Rows were left out.
        notes: What a person wants to know beside it.
    """

    columns: tuple[AnswerColumn, ...]
    rows: tuple[tuple[Any, ...], ...]
    has_more: bool = False
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Its rows, as `objects`."""
        return iter(self.objects())

    def __len__(self) -> int:
        """How many rows it has."""
        return len(self.rows)

    def objects(self) -> list[dict[str, Any]]:
        """The rows as mappings from column names."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


def json_value(value: Any) -> Json:
    """A value as JSON has it: times in UTC, numbers that are not finite as null, bytes as hexadecimal digits."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return clock.to_text(value if value.tzinfo else value.replace(tzinfo=UTC))
        case Decimal():
            return json_value(int(value) if value == value.to_integral_value() else float(value))
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case dict():
            return {str(json_value(name)): json_value(item) for name, item in value.items()}
        case list() | tuple():
            return [json_value(item) for item in value]
        case date() | time():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case _:
            return str(value)


def shown(value: Any) -> str:
    """A value as a person reads it: times to the second in UTC."""
    match value:
        case None:
            return ""
        case datetime():
            moment = value.astimezone(UTC) if value.tzinfo else value
            return moment.strftime("%Y-%m-%d %H:%M:%SZ")
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.6g}"
        case timedelta():
            return str(value)
        case _:
            found = json_value(value)
            return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, separators=(",", ":"))
