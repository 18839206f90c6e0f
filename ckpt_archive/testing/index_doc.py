"""`docs/index.md`, made from the schema, the kinds of events and the saved questions, so that it can not lie about them.

python -m ckpt_archive.testing.index_doc --write docs/index.md
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ckpt_archive.commit.event import KINDS
from ckpt_archive.index import schema
from ckpt_archive.index.questions import Parameter, SavedQuestion, saved_questions

DOCUMENT = Path(__file__).parents[2] / "docs" / "index.md"

DECISIONS: Mapping[str, str] = {
    "promote": "it was decided that a step goes to the archive, whatever the rule says",
    "gap": "it was decided that a step will never be in the archive",
}
"""Kinds of rows in `events` that come from decisions, not from events."""

COLUMNS: Mapping[str, str] = {
    "restored": "`outcome` `ok` or `failed`; `subject` where to; `size_bytes`",
    "verified": "`outcome` `ok` or `findings`",
    "scrubbed": "`outcome` `ok` or `findings`",
    "drilled": "`outcome` `ok` or `failed`",
    "finding": "`subject` a key; `digest` of what stands there; `reason` what is wrong",
    "signed": "`subject` the key's id (see `signers`); `digest` the manifest's",
    "key-published": "see `signers`",
    "key-revoked": "see `signers`",
    "classed": "`outcome` the class",
    "held": "`subject` the case; without attempt and step: the whole run",
    "released": "`subject` the case",
    "ending": "`until_at` when; `outcome` the class",
    "ended": "`size_bytes` what it was; nothing brings it back",
    "dropped": "`until_at` when the data will be removed",
    "undropped": "",
    "thaw-requested": "`subject` the tier; `until_at` when it is promised",
    "thawed": "`until_at` until when it can be read",
    "digested": "`subject` the key; `digest`",
    "duplicate": "`digest` of the other content",
    "imported": "`subject` where from",
    "copied": "`subject` where to",
    "exported": "`subject` where to; `outcome` the format",
    "source": "`subject` the URI; `digest`; see `run_sources`",
    "lineage": "see `lineage`",
    "output": "`subject` the URI; `digest`",
    "evaluated": "`subject` the test; `outcome` its result; `digest` of the test's data",
    "deployed": "`subject` the system; `outcome` the environment",
    "incident": "`subject` its id; `outcome` how serious; without attempt and step: the whole run",
    "promote": "`reason`; `actor` who or which node",
    "gap": "`reason`; `actor` who or which node",
}
"""Which columns of `events` say what about a kind, beyond place, time, actor and reason; saved questions rely on it."""

_BEGINNING = Path(__file__).parent / "index_doc_beginning.md"


def document() -> str:
    """The whole text."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    questions = saved_questions()
    beginning = _BEGINNING.read_text(encoding="utf-8").rstrip("\n")
    yield beginning.format(tables=len(schema.TABLES), questions=len(questions), log_seq=schema.LOG_SEQ)
    yield ""
    yield "| table | a row is |"
    yield "|---|---|"
    for table in schema.TABLES.values():
        yield f"| [`{table.name}`](#{table.name}) | {table.purpose} |"
    for table in schema.TABLES.values():
        yield from _table(table)
    yield from _kinds()
    yield from _questions(questions)


def _table(table: schema.Table) -> Iterator[str]:
    yield ""
    yield f"### `{table.name}`"
    yield ""
    yield f"A row is {table.purpose}."
    order = ", ".join(f"`{name}`" for name in table.sort_by)
    files = f" by {schema.MONTH}" if table.monthly else ""
    bloom = f" Bloom filters: {', '.join(f'`{name}`' for name in table.bloom)}." if table.bloom else ""
    yield f"As of: `{table.known_at}`. Files{files}, sorted by {order}.{bloom}"
    yield ""
    yield "| column | type | meaning | source | example |"
    yield "|---|---|---|---|---|"
    for column in table.columns:
        cells = (f"`{column.name}`", _TYPES[column.type], column.meaning, column.source, f"`{column.example}`")
        yield _row(*cells)


_TYPES: Mapping[schema.Type, str] = {
    schema.Type.TEXT: "text",
    schema.Type.INTEGER: "integer",
    schema.Type.NUMBER: "number",
    schema.Type.BOOLEAN: "boolean",
    schema.Type.TIME: "time",
}


def _kinds() -> Iterator[str]:
    yield ""
    yield "## Kinds of events"
    yield ""
    yield "What `kind` of `events` may be, and which columns then say what, beside place, times, `actor` and `reason`."
    yield ""
    yield "| kind | what happened | columns |"
    yield "|---|---|---|"
    for kind, meaning in (*KINDS.items(), *DECISIONS.items()):
        yield _row(f"`{kind}`", meaning, COLUMNS[kind])


def _questions(questions: list[SavedQuestion]) -> Iterator[str]:
    yield ""
    yield "## Saved questions"
    yield ""
    yield "Their SQL runs unchanged on DuckDB, Athena, Trino and DataFusion; where a `.athena.sql` stands beside it, that"
    yield "is for Athena and Trino. It lies in `ckpt_archive/index/saved/`; `ckpt-archive query --saved NAME --show-sql`"
    yield "prints it with its parameters. A date is a day such as `2026-01-31`, or `today`, `today-30`."
    for question in questions:
        yield ""
        yield f"### `{question.name}`"
        yield ""
        yield f"**{_sentence(question.title)}** For {_sentence(question.audience)}"
        yield f"A row is {_sentence(question.answers)}"
        if question.parameters:
            yield ""
            yield "| parameter | type | default | meaning |"
            yield "|---|---|---|---|"
            for parameter in question.parameters:
                yield _row(f"`{parameter.name}`", parameter.type, _default(parameter), parameter.meaning)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def _default(parameter: Parameter) -> str:
    if parameter.default is None:
        return "must be given"
    return f"`{parameter.default}`" if parameter.default else "empty"


def _row(*cells: str) -> str:
    # A cell ends at a bar, whatever is around it.
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("|  |", "| |")


def main() -> None:
    """Print the document, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", metavar="FILE", type=Path, help="where to write it; without it, it is printed")
    given = parser.parse_args()
    if given.write is None:
        sys.stdout.write(document())
    else:
        given.write.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
