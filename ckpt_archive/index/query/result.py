"""The answer to a question, while the connection that makes it is open."""

from collections.abc import Iterator
from typing import Any

import duckdb

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.index.query.answer import AnswerColumn
from ckpt_archive.index.query.statement import Statement

_BATCH_ROWS = 10_000


class Result:
    """Rows as they come, or all of them in a file.

    Args:
        connection: Locked, with the views in place.
        statement: To be run on it, once.
        notes: What a person wants to know beside the answer.

    Attributes:
        statement: What is answered.
        notes: See above.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, statement: Statement, notes: tuple[str, ...]) -> None:
        self._connection = connection
        self._is_run = False
        self.statement = statement
        self.notes = notes

    @property
    def columns(self) -> tuple[AnswerColumn, ...]:
        """Names, each once, and types."""
        description = self._run().description or []
        taken: set[str] = set()
        columns = []
        for item in description:
            name = _free(str(item[0]), taken)
            taken.add(name)
            columns.append(AnswerColumn(name, str(item[1])))
        return tuple(columns)

    def batches(self) -> Iterator[list[tuple[Any, ...]]]:
        """All rows, some at a time, so that an answer may be larger than memory."""
        connection = self._run()
        while rows := connection.fetchmany(_BATCH_ROWS):
            yield rows

    def rows(self, limit: int | None) -> tuple[list[tuple[Any, ...]], bool]:
        """The first rows (None for all), and whether there are more."""
        if limit is None:
            return [row for batch in self.batches() for row in batch], False
        found = self._run().fetchmany(limit + 1)
        return found[:limit], len(found) > limit

    def save_parquet(self, path: str, limit: int | None) -> None:
        """Write all rows into a new Parquet file, the question's `output`."""
        if self.statement.is_plan:
            raise InvalidInputError("a plan has no rows to write", hint="Ask without EXPLAIN.")
        # Through a relation, so that no text of the question becomes part of a statement that writes.
        answer = self._connection.sql(self.statement.sql)
        if limit is not None:
            answer = answer.limit(limit)
        answer.write_parquet(path, compression="zstd")

    def _run(self) -> duckdb.DuckDBPyConnection:
        if not self._is_run:
            self._connection.execute(self.statement.sql)
            self._is_run = True
        return self._connection


def _free(name: str, taken: set[str]) -> str:
    """The name, or one like it: objects of a JSON document have each name once."""
    number = 2
    found = name
    while found in taken:
        found = f"{name}_{number}"
        number += 1
    return found
