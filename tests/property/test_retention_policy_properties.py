"""Whatever stands in a policy file, it is read or refused as what it is; and each value is found where it stands."""

import tomllib
from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.policy.file import PRESETS, load, preset
from ckpt_archive.retention.policy.lines import Path, find_spots
from ckpt_archive.strictjson import Json

NASTY = r'''# a comment with [brackets] and "quotes"
top = """
[not.a.table]
x = 1 \""" # still text
"""""
literal = '''
NASTY += """'''
[[not.this]]
''''
"quoted \\"key\\" = #" = 'a # b' # c
'lit eral'.b . "c" = [ # comment ]
  1, { x = 2, y.z = [3, "]"] }, # }
  [ [], [4,] ],
]
date = 2027-01-01 12:00:00 # with a space
inf=-inf

[ a . "b.c" ]
x = { }
[[arrays]]
n = 1
[arrays.sub]
m = 1
[[arrays.deep]]
k = 1
[[arrays.deep]]
k = 2
[[arrays]]
n = 2
[[arrays.deep]]
k = 3
"""

KEYS = st.sampled_from(
    ["version", "default", "keep_newest", "notice", "classes", "promotion", "quota", "cold", "a", "b c", 'q"', "é", "#"]
) | st.text("abc-_.\"'#[]= \n", max_size=5)
SCALARS = (
    st.text("ab12dwyGLACIER_IR\"'#[]{},\\ \n", max_size=12)
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.sampled_from(["2d", "forever", "1y", "48h", "GLACIER_IR", "COMPLIANCE"])
)


def text_of(text: str) -> str:
    """A basic string."""
    return (
        '"' + "".join(f"\\u{ord(item):04x}" if item in '"\\' or not item.isprintable() else item for item in text) + '"'
    )


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    """A value, with blanks where blanks may be."""
    kind = draw(st.integers(0, 3 if depth else 1))
    blank = draw(st.sampled_from(["", " ", "  "]))
    if kind <= 1:
        scalar = draw(SCALARS)
        if isinstance(scalar, str):
            if draw(st.booleans()) and "'''" not in scalar and not scalar.endswith("'") and scalar.isprintable():
                return f"'''{blank}{scalar}'''"
            return text_of(scalar)
        return str(scalar).lower()
    if kind == 2:
        items = draw(st.lists(values(depth - 1), max_size=3))
        comment = draw(st.sampled_from(["", "\n", " # ] }\n"]))
        return f"[{comment}{blank}{f'{blank},{comment}'.join(items)}{comment}]"
    pairs = draw(st.dictionaries(st.text("abc.#]\"'", max_size=3), values(depth - 1), max_size=3))
    return "{" + blank + ", ".join(f"{text_of(key)}{blank}={value}" for key, value in pairs.items()) + blank + "}"


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Lines that often are TOML."""
    lines: list[str] = []
    for _ in range(draw(st.integers(0, 6))):
        key = ".".join(text_of(part) for part in draw(st.lists(KEYS, min_size=1, max_size=3)))
        match draw(st.integers(0, 4)):
            case 0:
                lines.append(f"[{key}]")
            case 1:
                lines.append(f"[[ {key} ]] # [x]")
            case _:
                lines.append(f"{key} = {draw(values())}")
        lines += draw(st.sampled_from([[], [], ["# x = ["], [""]]))
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines) + draw(st.sampled_from(["", "\n"]))


def leaves(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """All values within a value, itself too."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*path, number))


@given(documents())
@example(NASTY)
@example(NASTY.replace("\n", "\r\n"))
@example(preset("eu-ai-10y").text)
def test_each_value_is_found_where_it_stands(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except ValueError:
        return
    spots = find_spots(text)
    lines = text.replace("\r\n", "\n").split("\n")
    for path, value in leaves(document):
        spot = spots[path]
        if spot.raw:
            assert tomllib.loads(f"x = {spot.raw}")["x"] == value
            rest = "\n".join(lines[spot.line - 1 :])
            assert spot.raw in rest
            assert spot.raw.split("\n")[0] in "\n".join(lines[spot.line - 1 : spot.line + 1])
        else:
            assert isinstance(value, (dict, list))
    assert set(spots) == {path for path, _ in leaves(document)}


@given(documents())
def test_whatever_looks_like_a_policy_is_read_or_refused(text: str) -> None:
    for wrapped in (text, f'[classes.x]\nkeep_for = "2d"\n{text}', f"classes.x.{text}"):
        _read_or_refused(wrapped)


@given(st.text(max_size=200))
def test_whatever_text_is_read_or_refused(text: str) -> None:
    _read_or_refused(text)


@given(st.sampled_from(PRESETS), st.data())
def test_a_preset_with_a_part_replaced_is_read_or_refused(name: str, data: st.DataObject) -> None:
    text = preset(name).text
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 20)))
    _read_or_refused(text[:begin] + data.draw(st.text("abcdwy0123\"'[]{}=.,#\n -_", max_size=10)) + text[end:])


def _read_or_refused(text: str) -> None:
    try:
        policy = load(text, "p.toml")
    except InvalidInputError as error:
        said = str(error)
    else:
        assert policy.classes
        assert policy.text == text
        return
    assert said.startswith("p.toml")
