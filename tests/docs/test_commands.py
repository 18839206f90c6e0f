"""Every command that a document quotes exists: its verb, its options, and the number of its arguments."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ckpt_archive.cli.group import Verbs
from ckpt_archive.cli.main import group

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# What ends a command in a line of shell.
END = re.compile(r" [|>#;&(]|[`\n]|$")
COMMAND = re.compile(r"(?<![\w./-])ckpt-archive (?=[a-z-]|\[)")


def commands(text: str) -> Iterator[str]:
    """What stands in code: in blocks, and between backticks."""
    blocks = re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`[^`]+`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    for code in (*blocks, *(span.replace("\n", " ") for span in spans)):
        for found in COMMAND.finditer(code):
            end = END.search(code, found.end())
            assert end is not None
            yield code[found.end() : end.start()]


def quoted() -> list[tuple[str, str]]:
    found = {
        (str(document.relative_to(ROOT)), command)
        for document in DOCUMENTS
        for command in commands(document.read_text(encoding="utf-8"))
    }
    return sorted(found)


def check(command: str) -> None:
    """Placeholders such as N stand for values, so values are not converted."""
    _check(group, "ckpt-archive", shlex.split(command))


def _check(found: click.Command, name: str, arguments: list[str]) -> None:
    with click.Context(found, info_name=name) as context:
        _, rest, _ = found.make_parser(context).parse_args(arguments)
        if isinstance(found, Verbs):
            if not rest:
                return
            verb, *rest = rest
            inner = found.get_command(context, verb)
            assert inner is not None, f"there is no verb {verb!r}"
            if rest:  # else the verb is spoken of
                _check(inner, verb, rest)
            return
    assert not rest, f"it takes no argument {rest[0]!r}"


def test_documents_quote_commands() -> None:
    assert {document for document, _ in quoted()} >= {"README.md", "docs/servers.md"}


@pytest.mark.parametrize(("document", "command"), quoted())
def test_every_quoted_command_exists(document: str, command: str) -> None:
    check(command)


@pytest.mark.parametrize(
    "wrong", ["melt r 1", "dev-server DIR", "ls --step N", "--step 1 ls", "show r 1 2", "index thaw", "index sync x"]
)
def test_a_wrong_one_would_be_found(wrong: str) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        check(wrong)


def test_they_are_found_in_blocks_and_spans() -> None:
    text = "`ckpt-archive ls\nRUN`, .ckpt-archive x\n```sh\n$ ckpt-archive verify --deep | tee x  # y\n```\n"
    assert sorted(commands(text)) == ["ls RUN", "verify --deep"]
