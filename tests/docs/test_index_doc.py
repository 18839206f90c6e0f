"""`docs/index.md` says what the schema, the kinds of events and the saved questions are today."""

from ckpt_archive.commit.event import KINDS
from ckpt_archive.index import schema
from ckpt_archive.testing.index_doc import COLUMNS, DECISIONS, DOCUMENT, document


def test_the_document_is_up_to_date() -> None:
    written = DOCUMENT.read_text(encoding="utf-8")
    assert written == document(), "run: python -m ckpt_archive.testing.index_doc --write docs/index.md"


def test_every_kind_of_event_is_in_it() -> None:
    assert COLUMNS.keys() == KINDS.keys() | DECISIONS.keys()


def test_columns_it_names_for_a_kind_exist() -> None:
    names = {column.name for column in schema.EVENTS.columns} | schema.TABLES.keys()
    for kind, text in COLUMNS.items():
        quoted = [piece for piece in text.split("`")[1::2] if piece not in ("ok", "failed", "findings")]
        assert set(quoted) <= names, kind
