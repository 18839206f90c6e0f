"""Saved questions: their headers, and parameters that become literals and nothing else."""

from datetime import date

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_archive.errors import InvalidInputError, NotFoundError
from ckpt_archive.index.questions import literal, parse, placeholders, saved_question, saved_questions

TODAY = date(2026, 3, 1)
HEADER = "-- title: T\n-- for: whoever\n-- answers: something\n"


def test_a_header() -> None:
    found = parse(
        "a-question",
        HEADER
        + "-- param run text: the run: its name\n"
        + "-- param uri text = s3://corpus/v3: which source\n"
        + "-- param project text = : all of them by default\n"
        + "-- param owner text = '': also all\n"
        + "-- param hours number = 1.5: how long\n"
        + "-- param step integer = -3: where\n"
        + "-- param since date = today-30: from when\n"
        + "\n-- a remark about :nothing\nSELECT :run, :uri, :project, :owner, :hours, :step, :since\n",
    )
    assert (found.name, found.title, found.audience, found.answers) == ("a-question", "T", "whoever", "something")
    assert [(item.name, item.type, item.default) for item in found.parameters] == [
        ("run", "text", None),
        ("uri", "text", "s3://corpus/v3"),
        ("project", "text", ""),
        ("owner", "text", ""),
        ("hours", "number", "1.5"),
        ("step", "integer", "-3"),
        ("since", "date", "today-30"),
    ]
    assert found.parameters[0].meaning == "the run: its name"
    bound = found.bound({"run": "o'brien", "hours": "2"}, TODAY)
    assert bound.strip().endswith("SELECT 'o''brien', 's3://corpus/v3', '', '', 2, (-3), '2026-01-30'")


def test_where_a_colon_is_none() -> None:
    sql = """SELECT ':a', ":a", 'it''s :a', x::bigint, :a, /* :a */ b -- :a\n, {'k': :a}"""
    assert placeholders(sql) == {"a"}
    found = parse("q", HEADER + "-- param a text: x\n" + sql)
    assert (
        found.bound({"a": ":a -- '; /*"}, TODAY).strip()
        == """SELECT ':a', ":a", 'it''s :a', x::bigint, ':a -- ''; /*', /* :a */ b -- :a\n, {'k': ':a -- ''; /*'}"""
    )


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    with duckdb.connect() as connection:
        (row,) = connection.execute(f"SELECT {literal(text, 'text', TODAY)}").fetchall()
    assert row == (text,)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("0", "integer", "0"),
        ("007", "integer", "7"),
        ("-9223372036854775808", "integer", "(-9223372036854775808)"),
        ("1.50", "number", "1.50"),
        ("-1", "number", "(-1)"),
        ("1e3", "number", "1000.0"),
        ("+.5", "number", "0.5"),
        ("2026-02-28", "date", "'2026-02-28'"),
        ("today", "date", "'2026-03-01'"),
        ("today-1", "date", "'2026-02-28'"),
        ("today+31", "date", "'2026-04-01'"),
    ],
)
def test_literals(text: str, kind: str, expected: str) -> None:
    assert literal(text, kind, TODAY) == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a\0b", "text"),
        ("1.0", "integer"),
        ("", "integer"),
        ("1; DROP TABLE x", "integer"),
        ("9223372036854775808", "integer"),
        ("٣", "integer"),
        ("nan", "number"),
        ("inf", "number"),
        ("1_0", "number"),
        ("", "number"),
        ("1) OR (1=1", "number"),
        ("1e999", "number"),
        ("2026-02-30", "date"),
        ("2026-2-3", "date"),
        ("yesterday", "date"),
        ("today-999999", "date"),
        ("' OR 1=1 --", "date"),
        ("x", "colour"),
    ],
)
def test_what_is_no_value_of_its_type(text: str, kind: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one is said by the caller
        literal(text, kind, TODAY)


@pytest.mark.parametrize(
    ("given_values", "words"),
    [({}, "needs run"), ({"run": "a", "rnu": "b"}, "no parameter 'rnu'"), ({"run": "a", "n": "x"}, "parameter n: 'x'")],
)
def test_what_is_given_must_be_what_is_asked_for(given_values: dict[str, str], words: str) -> None:
    found = parse("q", HEADER + "-- param run text: x\n-- param n integer = 1: y\nSELECT :run, :n")
    with pytest.raises(InvalidInputError) as caught:
        found.bound(given_values, TODAY)
    assert words in caught.value.message
    assert "run (text): x, n (integer = 1): y" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("Q", HEADER + "SELECT 1", "may only hold"),
        ("q", "-- title: T\n-- for: me\nSELECT 1", "'-- answers: …'"),
        ("q", HEADER + "SELECT :a", "a must stand both"),
        ("q", HEADER + "-- param a text: x\nSELECT 1", "a must stand both"),
        ("q", HEADER + "-- param a colour: x\nSELECT :a", "is not of the form"),
        ("q", HEADER + "-- param a integer = x: y\nSELECT :a", "the default of a"),
    ],
)
def test_headers_that_are_not_whole(name: str, text: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        parse(name, text)


def test_another_dialect() -> None:
    found = parse("q", HEADER + "-- param a text: x\nSELECT :a", HEADER + "-- param a text: x\nSELECT upper(:a)")
    assert found.bound({"a": "b"}, TODAY) == "SELECT 'b'\n"
    assert found.bound({"a": "b"}, TODAY, engine="athena") == "SELECT upper('b')\n"
    with pytest.raises(InvalidInputError):
        parse("q", HEADER + "-- param a text: x\nSELECT :a", "SELECT 1")


def test_those_that_come_with_the_release() -> None:
    found = saved_questions()
    assert [question.name for question in found] == sorted({question.name for question in found})
    for question in found:
        assert saved_question(question.name) == question


def test_one_that_does_not() -> None:
    with pytest.raises(NotFoundError) as caught:
        saved_question("no-such-question")
    assert "query --list" in caught.value.hint
