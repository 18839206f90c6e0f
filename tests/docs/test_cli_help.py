"""The help says all that a script needs: an example that parses, and the exit codes."""

import re
import shlex
from datetime import date

import click
import pytest

from ckpt_archive.cli import exits
from ckpt_archive.cli.group import Verbs
from ckpt_archive.cli.main import VERBS, group, run
from ckpt_archive.index.questions import saved_question

SPOKEN = re.compile(r"\s+")


def _command(verb: str) -> click.Command:
    """That of a verb, or of one in a group of verbs: "index sync"."""
    command: click.Command | None = group
    for name in verb.split():
        assert isinstance(command, Verbs)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    return command


def _inner() -> dict[str, str]:
    """The verbs that stand in groups, and what the lists there say of them."""
    found: dict[str, str] = {}
    for verb in VERBS:
        command = _command(verb)
        if isinstance(command, Verbs):
            found |= {f"{verb} {name}": purpose for name, purpose in command.verbs.items()}
    return found


INNER = _inner()
ALL = {**VERBS, **INNER}


def _help(verb: str) -> str:
    command = _command(verb)
    return command.get_help(click.Context(command, info_name=f"ckpt-archive {verb}", max_content_width=100))


def _examples(text: str) -> list[str]:
    return [line.strip() for line in text[text.rindex("Example:") :].splitlines()[1:] if line.strip()]


def test_the_groups_help_lists_every_verb_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = SPOKEN.sub(" ", capsys.readouterr().out)
    for verb, purpose in VERBS.items():
        assert f"{verb} {purpose}" in text
    for code, meaning in exits.MEANINGS.items():
        assert f"{code} {meaning}" in text


@pytest.mark.parametrize("verb", ALL)
def test_the_first_sentence_is_what_the_list_of_verbs_says(verb: str) -> None:
    assert (_command(verb).help or "").splitlines()[0] == ALL[verb]


@pytest.mark.parametrize("verb", ALL)
def test_every_help_ends_with_examples_that_parse(verb: str) -> None:
    examples = _examples(_help(verb))
    assert examples
    for example in examples:
        words = shlex.split(example.partition(" | ")[0])
        names = verb.split()
        assert words[: 1 + len(names)] == ["ckpt-archive", *names]
        command, rest = _command(verb), words[1 + len(names) :]
        if isinstance(command, Verbs):
            command, rest = _command(f"{verb} {rest[0]}"), rest[1:]
        command.make_context(verb, rest)


@pytest.mark.parametrize("verb", ALL)
def test_every_help_documents_its_exit_codes(verb: str) -> None:
    text = _help(verb)
    codes = re.findall(r"^ +(\d)  (.+)$", text[text.index("Exit codes:") : text.rindex("Example:")], re.MULTILINE)
    assert {"0", "2"} <= {code for code, _ in codes}
    assert all(exits.MEANINGS[int(code)] == meaning for code, meaning in codes)


@pytest.mark.parametrize("verb", ALL)
def test_every_option_has_a_help(verb: str) -> None:
    for parameter in _command(verb).params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


@pytest.mark.parametrize("verb", ALL)
def test_every_verb_takes_the_common_options(verb: str) -> None:
    names = {name for parameter in _command(verb).params for name in parameter.opts}
    assert {"--archive", "--json", "--verbose", "--quiet"} <= names


@pytest.mark.parametrize("verb", [verb for verb in VERBS if any(inner.startswith(f"{verb} ") for inner in INNER)])
def test_a_groups_help_lists_its_verbs(verb: str) -> None:
    text = SPOKEN.sub(" ", _help(verb))
    for name, purpose in INNER.items():
        if name.startswith(f"{verb} "):
            assert f"{name.removeprefix(verb).strip()} {purpose}" in text


def test_a_group_without_a_verb_is_a_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["index"]) == exits.USAGE
    assert "ckpt-archive index --help" in capsys.readouterr().err


def test_the_common_options_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--json", "index", "ddl"], ["index", "--json", "ddl"], ["index", "ddl", "--json"]):
        assert run([*words, "--engine", "none"]) == exits.USAGE
        assert capsys.readouterr().err.startswith("{")


def test_the_agents_help_says_what_the_first_and_the_second_signal_do() -> None:
    text = SPOKEN.sub(" ", _help("agent"))
    assert "first SIGTERM or Ctrl-C lets it finish the checkpoint under way" in text
    assert "second one ends it at once. That is safe" in text


def test_what_an_example_asks_can_be_asked() -> None:
    asked = [shlex.split(example) for example in _examples(_help("query")) if "--saved" in example]
    assert asked
    for words in asked:
        question = saved_question(words[words.index("--saved") + 1])
        given = dict(words[at + 1].split("=", 1) for at, word in enumerate(words) if word == "-p")
        assert question.bound(given, date(2026, 1, 31))
