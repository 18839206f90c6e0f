"""What one record may cost the index: longer texts are cut or left out, and more items than these are not listed one by one.

The records themselves are bounded by what a reader takes; these are about what is repeated in tables that everybody reads.
"""

from ckpt_archive.strictjson import Json, encode

MAX_TEXT_CHARACTERS = 4_096
MAX_JSON_BYTES = 64 << 10
MAX_DETAILS_CHARACTERS = 256 << 10
"""Of the details of an event in all its rows; larger ones stand in the first row alone."""

MAX_METRICS = 10_000
MAX_SOURCES = 10_000
MAX_TENSORS = 100_000
"""Of one layout."""

SMALL_RECORD_BYTES = 64 << 10
"""Of a record that may be read with many others at once: a manifest of 500 writers."""

MAX_RECORD_BYTES = 16 << 20
"""Of a manifest, launch, decision or event that is put into the index: a manifest of 145,000 writers."""

MAX_ANCESTORS = 10_000
"""Of one node of the lineage. What is deeper stays in `lineage`, which an engine that recurses can follow."""

MAX_STRICT_BYTES = 8 << 20
"""Of a receipt that is odd and has to be looked at member by member: ten times its length in memory."""


def text(value: str) -> str:
    """A text that is for people: its beginning, where it is too long."""
    return value if len(value) <= MAX_TEXT_CHARACTERS else f"{value[: MAX_TEXT_CHARACTERS - 1]}…"


def json_text(value: Json) -> str | None:
    """As canonical JSON; None for nothing, and for what is too long."""
    if not value:
        return None
    spelled = encode(value)[:-1]
    return spelled.decode() if len(spelled) <= MAX_JSON_BYTES else None
