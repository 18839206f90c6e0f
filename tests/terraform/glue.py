"""The tables of the index as the module has them: `python -m tests.terraform.glue` writes them anew."""

import json
from typing import Any

from ckpt_archive.index.schema import TABLES, Type
from tests.terraform.module import MODULE

FILE = MODULE / "index.json"

_TYPES = {
    Type.TEXT: "string",
    Type.INTEGER: "bigint",
    Type.NUMBER: "double",
    Type.BOOLEAN: "boolean",
    Type.TIME: "timestamp",
}
_COMMENT_CHARACTERS = 255  # Glue's limit


def tables() -> dict[str, Any]:
    """By name: what a row is, and the columns as Glue names their types."""
    return {
        table.name: {
            "purpose": table.purpose,
            "columns": [
                {
                    "name": column.name,
                    "type": _TYPES[column.type],
                    "comment": column.meaning[:_COMMENT_CHARACTERS],
                }
                for column in table.columns
            ],
        }
        for table in TABLES.values()
    }


def text() -> str:
    """The file."""
    return json.dumps(tables(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
