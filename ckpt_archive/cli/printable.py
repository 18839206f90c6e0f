"""Text as it may be shown to a person: what names, labels and messages of others hold must not steer a terminal."""

import json

from ckpt_archive.strictjson import Json


def line(text: str) -> str:
    r"""One line in which everything that can not be seen is spelled out, such as ``\x1b`` for the escape character."""
    return text if text.isprintable() else "".join(map(_shown, text))


def lines(text: str) -> str:
    """As `line`, but what was several lines stays so."""
    return "\n".join(map(line, text.split("\n")))


def document(value: Json) -> str:
    """A JSON document of one line; a program reads exactly `value` from it, also where that is no valid Unicode.

    Raises:
        ValueError: If it holds a number that is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    if not text.isprintable():
        # Whatever can not be seen stands within a text, where JSON has a spelling for it.
        text = "".join(
            character if character.isprintable() else json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
            for character in text
        )
    return text + "\n"


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode("ascii")
