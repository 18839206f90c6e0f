"""The help says all that a script needs: an example that parses, and the exit codes."""

import re
import shlex

import click
import pytest

from ckpt_archive.cli import exits
from ckpt_archive.cli.main import VERBS, group, run

SPOKEN = re.compile(r"\s+")


def _command(verb: str) -> click.Command:
    command = group.get_command(click.Context(group), verb)
    assert command is not None
    return command


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


@pytest.mark.parametrize("verb", VERBS)
def test_the_first_sentence_is_what_the_list_of_verbs_says(verb: str) -> None:
    assert (_command(verb).help or "").splitlines()[0] == VERBS[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_ends_with_examples_that_parse(verb: str) -> None:
    examples = _examples(_help(verb))
    assert examples
    for example in examples:
        words = shlex.split(example.partition(" | ")[0])
        assert words[:2] == ["ckpt-archive", verb]
        _command(verb).make_context(verb, words[2:])


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_documents_its_exit_codes(verb: str) -> None:
    text = _help(verb)
    codes = re.findall(r"^ +(\d)  (.+)$", text[text.index("Exit codes:") : text.rindex("Example:")], re.MULTILINE)
    assert {"0", "2"} <= {code for code, _ in codes}
    assert all(exits.MEANINGS[int(code)] == meaning for code, meaning in codes)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_help(verb: str) -> None:
    for parameter in _command(verb).params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_the_common_options(verb: str) -> None:
    names = {name for parameter in _command(verb).params for name in parameter.opts}
    assert {"--archive", "--json", "--verbose", "--quiet"} <= names


def test_the_agents_help_says_what_the_first_and_the_second_signal_do() -> None:
    text = SPOKEN.sub(" ", _help("agent"))
    assert "first SIGTERM or Ctrl-C lets it finish the checkpoint under way" in text
    assert "second one ends it at once. That is safe" in text
