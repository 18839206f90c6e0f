"""What a question asks for, and whether it may be asked: one statement that reads tables of the index and nothing else.

Not the text is judged but what DuckDB's own parser makes of it, against lists of what is known to be harmless: that it is a
`SELECT` says nothing, because ``WITH x AS (COPY … TO …) SELECT …`` is one. The connection is locked besides (`sandbox`).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.strictjson import Json

if TYPE_CHECKING:
    import duckdb

MOST_CHARACTERS = 1 << 20

_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_SOURCES = frozenset(
    {"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT", "SHOW_REF", "CTE"}
)
# Of DuckDB's table functions those that make rows from their arguments alone. The others read files, run texts as SQL
# (query, query_table), or change the process (enable_logging, create_external_resource, …); new ones are born refused.
_TABLE_FUNCTIONS = frozenset(
    {"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest", "pg_timezone_names"}
)
_FUNCTIONS_REFUSED = frozenset({"pg_sleep", "setval", "sleep_ms", "write_log"})
_LONGEST_NAME = 128
_CATALOG = frozenset({"columns", "schemata", "tables", "views"})
_EXPLAIN = re.compile(r"\s*explain\b(\s+analyze\b)?", re.IGNORECASE)
_PIVOT = re.compile(r"\bpivot\b", re.IGNORECASE)

_HINT = (
    "A question is one SELECT (or WITH, FROM, VALUES, DESCRIBE, SUMMARIZE; EXPLAIN before it) over the index's tables."
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A question that may be asked.

    Attributes:
        sql: What is to be run: exactly the text that was judged.
        tables: The tables it names, in lower case.
        own_names: Names that it gives to queries of its own (WITH), in lower case.
        names_all: It asks which tables there are.
        is_plan: It asks how the question would be answered.
    """

    sql: str
    tables: frozenset[str]
    own_names: frozenset[str] = frozenset()
    names_all: bool = False
    is_plan: bool = False


def understand(connection: "duckdb.DuckDBPyConnection", text: str) -> Statement:
    """Judge a question.

    Args:
        connection: Parses it; nothing of it is run.
        text: The question.

    Raises:
        InvalidInputError: If it is not one that may be asked.
        duckdb.Error: If it is no SQL.
    """
    if len(text) > MOST_CHARACTERS:
        raise _refused(f"it has more than {MOST_CHARACTERS} characters")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise _refused("it is no text: it holds NUL, or bytes that are not UTF-8")
    explain = _EXPLAIN.match(text)
    sql = text[explain.end() :] if explain else text
    found = connection.extract_statements(sql)
    if len(found) != 1:
        raise _refused("it has more than one statement" if found else "there is no statement in it")
    kind = _kind(found[0])
    if kind == "MULTI" and _PIVOT.search(sql):
        raise _refused("it does not say which values become columns", "Name them: PIVOT … ON column IN ('a', 'b') …")
    if kind != "SELECT":
        raise _refused(f"{kind} is no question")
    scan = _Scan()
    for item in _items(_tree(connection, sql)):
        scan.look_at(item)
    prefix = "" if explain is None else "EXPLAIN ANALYZE " if explain[1] else "EXPLAIN "
    return Statement(
        prefix + sql, frozenset(scan.tables), frozenset(scan.own_names), scan.names_all, is_plan=explain is not None
    )


def _kind(statement: "duckdb.Statement") -> str:
    try:
        return statement.type.name.replace("_", " ")
    except ValueError:
        return "this"  # the Python binding does not know the numbers of all kinds


def _tree(connection: "duckdb.DuckDBPyConnection", sql: str) -> Json:
    row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()
    try:
        tree = json.loads(row[0]) if row else {}
    except RecursionError as error:
        raise _refused("it is nested too deeply") from error
    if tree.get("error") is not False or len(tree["statements"]) != 1:
        raise _refused(str(tree.get("error_message", "it can not be parsed")))
    return tree["statements"]


def _items(tree: Json) -> Iterator[dict[str, Json]]:
    """Every object in a parsed statement."""
    left = [tree]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)


class _Scan:
    """Collects what a statement names, and refuses what is not known to be harmless."""

    def __init__(self) -> None:
        self.tables: set[str] = set()
        self.own_names: set[str] = set()
        self.names_all = False

    def look_at(self, item: dict[str, Json]) -> None:
        """Judge one object of the parsed statement."""
        kind = str(item.get("type", ""))
        if "info_type" in item or (("cte_map" in item or kind.endswith("_NODE")) and kind not in _QUERIES):
            what = kind.removesuffix("_NODE").removesuffix("_QUERY").replace("_", " ") or "this"
            raise _refused(f"{what} is no question")
        if "sample" in item and "alias" in item and kind not in _SOURCES:
            raise _refused(f"rows can not be taken from {kind.replace('_', ' ')}")
        if "cte_map" in item:
            self.own_names |= {str(entry["key"]).lower() for entry in item["cte_map"]["map"]}
        if item.get("class") == "FUNCTION":
            self._function(item)
        match kind:
            case "BASE_TABLE":
                self._table(item)
            case "TABLE_FUNCTION":
                self._table_function(item)
            case "SHOW_REF":
                self.names_all |= not item.get("query")

    def _table(self, item: dict[str, Json]) -> None:
        schema, name = str(item.get("schema_name", "")).lower(), str(item.get("table_name", ""))
        if schema == "information_schema" and name.lower() in _CATALOG:
            self.names_all = True
        elif schema not in ("", "main"):
            raise _refused(f"there is no schema {schema!r}", "Tables are named without one.")
        elif len(name) > _LONGEST_NAME or not name.replace("_", "").isalnum():
            raise _refused(f"{name[:200]!r} is no table, and files can not be read")
        else:
            self.tables.add(name.lower())

    def _table_function(self, item: dict[str, Json]) -> None:
        function = item.get("function") or {}
        name = str(function.get("function_name", ""))
        if name.lower() not in _TABLE_FUNCTIONS:
            raise _refused(f"the table function {name[:200]!r} may not be used")

    def _function(self, item: dict[str, Json]) -> None:
        name = str(item.get("function_name", "")).lower()
        if name in _FUNCTIONS_REFUSED:
            raise _refused(f"the function {name!r} may not be used")


def _refused(problem: str, hint: str = _HINT) -> InvalidInputError:
    return InvalidInputError(f"the question is refused: {problem}", hint=hint)
