"""The tables of docs/roles.md: `python -m tests.terraform.roles_doc` writes them anew."""

from collections.abc import Iterator
from pathlib import Path

from tests.terraform.module import MODULE
from tests.terraform.roles import FORBIDDEN, ROLES, UNSEEN, Rights

FILE = MODULE.parent / "docs" / "roles.md"
_BEGIN = "<!-- From here on: python -m tests.terraform.roles_doc -->\n"
_RIGHTS = Rights("bucket", "prefix/", owns_rules=True, job_runs="JOB_RUNS")


def _counts() -> Iterator[str]:
    yield "| role | rights | of these seen at work | calls tried that must be denied | denied |"
    yield "|---|---:|---:|---:|---:|"
    for role in ROLES:
        granted = _RIGHTS.granted(role)
        unseen = sum(who == role for who, _, _ in UNSEEN)
        denied = sum(role not in item.roles for item in FORBIDDEN)
        yield f"| {role} | {len(granted)} | {len(granted) - unseen} | {denied} | {denied} |"


def _granted(role: str) -> Iterator[str]:
    yield "| right | where |"
    yield "|---|---|"
    granted = _RIGHTS.granted(role)
    for action in sorted({action for action, _ in granted}):
        where = ", ".join(
            f"`{place}`" if place != "the bucket" else place for name, place in sorted(granted) if name == action
        )
        yield f"| `{action}` | {where} |"
    unseen = [(action, where, why) for (who, action, where), why in UNSEEN.items() if who == role]
    if unseen:
        yield ""
        yield "Not seen in the recording, and granted because:"
        yield ""
        for action, where, why in unseen:
            yield f"- `{action}` on `{where}`: {why}."


def _denied() -> Iterator[str]:
    yield f"| call | {' | '.join(ROLES)} | the bucket itself |"
    yield f"|---|{'---|' * len(ROLES)}---|"
    for item in FORBIDDEN:
        cells = ["may" if role in item.roles else "denied" for role in ROLES]
        yield f"| {item.what} | {' | '.join(cells)} | {'denies' if item.by_bucket else ''} |"


def _lines() -> Iterator[str]:
    yield ""
    yield "## Counts"
    yield ""
    yield from _counts()
    for role in ROLES:
        yield ""
        yield f"## {role}"
        yield ""
        yield from _granted(role)
    yield ""
    yield "## What is denied"
    yield ""
    yield "The last column says what the bucket's policy denies even to those whose own policies allow everything."
    yield ""
    yield from _denied()


def text(path: Path = FILE) -> str:
    """The whole file, with its tables as they must be."""
    beginning = path.read_text(encoding="utf-8").split(_BEGIN)[0]
    return beginning + _BEGIN + "\n".join(_lines()) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
