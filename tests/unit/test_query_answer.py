"""Values of answers, as a person reads them and as JSON has them."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from ckpt_archive.index.query.answer import AnswerColumn, json_value, shown

NOON = datetime(2026, 1, 31, 12, 0, 0, 500_000)  # noqa: DTZ001 - DuckDB has such too


@pytest.mark.parametrize(
    ("value", "text", "in_json"),
    [
        (None, "", None),
        (True, "true", True),
        (7, "7", 7),
        (0.1 + 0.2, "0.3", 0.1 + 0.2),
        (float("inf"), "inf", None),
        ("a\nb", "a\nb", "a\nb"),
        (NOON.replace(tzinfo=UTC), "2026-01-31 12:00:00Z", "2026-01-31T12:00:00.500000Z"),
        (NOON, "2026-01-31 12:00:00Z", "2026-01-31T12:00:00.500000Z"),
        (
            NOON.replace(tzinfo=timezone(timedelta(hours=2))),
            "2026-01-31 10:00:00Z",
            "2026-01-31T10:00:00.500000Z",
        ),
        (date(2026, 1, 31), "2026-01-31", "2026-01-31"),
        (time(1, 2, 3), "01:02:03", "01:02:03"),
        (timedelta(minutes=90), "1:30:00", 5400.0),
        (Decimal("1.50"), "1.5", 1.5),
        (Decimal("12345678901234567890"), "12345678901234567890", 12345678901234567890),
        (b"\x00\xff", "00ff", "00ff"),
        ([1, None], "[1,null]", [1, None]),
        ({"a": {1: date(2026, 1, 31)}}, '{"a":{"1":"2026-01-31"}}', {"a": {"1": "2026-01-31"}}),
    ],
)
def test_values(value: Any, text: str, in_json: Any) -> None:
    assert shown(value) == text
    assert json_value(value) == in_json


def test_what_is_a_number() -> None:
    assert all(AnswerColumn("a", kind).is_numeric for kind in ("BIGINT", "DOUBLE", "DECIMAL(5,2)", "HUGEINT"))
    assert not any(AnswerColumn("a", kind).is_numeric for kind in ("VARCHAR", "DATE", "BIGINT[]", "BOOLEAN"))
