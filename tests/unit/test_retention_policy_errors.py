"""Every mistake in a policy file is named with its line, its key, its value, and what would be right."""

import pytest

from ckpt_archive.cli import exits
from ckpt_archive.errors import InvalidInputError
from ckpt_archive.retention.policy.file import decode, find_policy, load, preset

OK = '[classes.recent]\nkeep_for = "2d"\n'


def of_class(*lines: str) -> str:
    """A file whose class x begins in line 1."""
    return "\n".join(["[classes.x]", *lines]) + "\n"


def moved(*moves: str, keep: str = "forever") -> str:
    """A file with transitions in line 3."""
    return of_class(f'keep_for = "{keep}"', f"transitions = [{', '.join(moves)}]")


def move(after: str, to: str) -> str:
    return f'{{ after = "{after}", to = "{to}" }}'


MANY = "".join(f'[classes.c{number}]\nkeep_for = "{number + 1}d"\n' for number in range(1_000))

# Text, and in order what the message of its first mistake must hold: line, key with value, what is wrong, what is right.
BAD: dict[str, tuple[str, int, str, str, str]] = {
    "no TOML": ("version 1\n", 1, "'version 1'", "no TOML", ""),
    "no TOML, later": (OK + "x = [1,\n", 3, "x = [1,", "no TOML", ""),
    "key twice": ("keep_newest = 1\nkeep_newest = 2\n", 2, "keep_newest", "no TOML: Cannot overwrite a value", ""),
    "table twice": (OK + OK, 3, "classes.recent", "no TOML: Cannot declare", ""),
    "empty": ("", 1, "", "there is no class", "[classes.recent]"),
    "no class": ("version = 1\n", 1, "", "there is no class", "[classes.recent]"),
    "classes empty": ("version = 1\n[classes]\n", 2, "classes", "there is no class", "[classes.recent]"),
    "only trash": ('[classes.trash]\nkeep_for = "7d"\n', 1, "classes", "there is no class", "[classes.recent]"),
    "classes a number": ("classes = 3\n", 1, "classes = 3", "an integer stands where tables", "[classes.recent]"),
    "classes an array": ("[[classes]]\n", 1, "classes", "an array stands where tables", "[classes.recent]"),
    "class a text": ('classes.x = "2d"\n', 1, 'classes.x = "2d"', "a text stands where a table", "[classes.recent]"),
    "unknown version": ("version = 2\n" + OK, 1, "version = 2", "knows version 1", "version = 1"),
    "version a text": ('version = "1"\n' + OK, 1, 'version = "1"', "knows version 1", "version = 1"),
    "version true": ("version = true\n" + OK, 1, "version = true", "knows version 1", "version = 1"),
    "version a decimal": ("version = 1.0\n" + OK, 1, "version = 1.0", "knows version 1", "version = 1"),
    "unknown key": (OK + "[promotoin]\nevery = 5\n", 3, "promotoin", "not known", "write promotion"),
    "unknown key at top": ('defualt = "recent"\n' + OK, 1, 'defualt = "recent"', "not known", "write default"),
    "unknown key, like no other": ("zzz = 1\n" + OK, 1, "zzz = 1", "not known", "one of version, default"),
    "unknown key of a class": (of_class('keep = "2d"'), 2, 'classes.x.keep = "2d"', "not known", "write keep_for"),
    "unknown key with dash": (of_class('keep-for = "2d"'), 2, "classes.x.keep-for", "not known", "write keep_for"),
    "unknown key of promotion": (OK + "[promotion]\nevry = 5\n", 4, "promotion.evry = 5", "not known", "write every"),
    "unknown key of quota": (OK + '[quota.users]\n"a" = "1TB"\n', 3, "quota.users", "not known", "write"),
    "unknown key of a transition": (
        moved('{ after = "30d", too = "GLACIER_IR" }'),
        3,
        "classes.x.transitions[0].too",
        "not known",
        "write to",
    ),
    "unknown key of a lock": (
        of_class('keep_for = "1y"', 'lock = { mode = "GOVERNANCE", form = "1y" }'),
        3,
        "classes.x.lock.form",
        "not known",
        "write for",
    ),
    "default unknown": ('default = "recnet"\n' + OK, 1, 'default = "recnet"', "no such class", '"recent"'),
    "default trash": ('default = "trash"\n' + OK, 1, 'default = "trash"', "as if dropped", "another class"),
    "default a number": ("default = 3\n" + OK, 1, "default = 3", "an integer stands where a text", '"recent"'),
    "default is explicit": (
        'default = "x"\n' + of_class('keep_for = "1d"', "explicit = true"),
        1,
        'default = "x"',
        "explicitly only",
        "leave out",
    ),
    "owner unknown": (
        'lifecycle_owner = "teraform"\n' + OK,
        1,
        'lifecycle_owner = "teraform"',
        "none of the possible",
        '"terraform"',
    ),
    "owner like no other": (
        'lifecycle_owner = "me"\n' + OK,
        1,
        'lifecycle_owner = "me"',
        "none of the possible",
        '"ckpt-archive", "terraform"',
    ),
    "owner a flag": ("lifecycle_owner = true\n" + OK, 1, "lifecycle_owner = true", "true or false stands", "write"),
    "keep_newest zero": ("keep_newest = 0\n" + OK, 1, "keep_newest = 0", "from 1", "keep_newest = 3"),
    "keep_newest negative": ("keep_newest = -1\n" + OK, 1, "keep_newest = -1", "from 1", "keep_newest = 3"),
    "keep_newest a text": ('keep_newest = "3"\n' + OK, 1, 'keep_newest = "3"', "a text stands", "keep_newest = 3"),
    "keep_newest true": ("keep_newest = true\n" + OK, 1, "keep_newest = true", "true or false", "keep_newest = 3"),
    "notice a number": ("notice = 2\n" + OK, 1, "notice = 2", "a number alone is no time", '"2d" for 2 days'),
    "notice zero": ('notice = "0d"\n' + OK, 1, 'notice = "0d"', "at least one day", '"1d"'),
    "notice in hours": ('notice = "48h"\n' + OK, 1, 'notice = "48h"', "count whole days", '"2d"'),
    "abort negative": ('abort_incomplete = "-1d"\n' + OK, 1, '"-1d"', "no time", '"14d"'),
    "cold another scheme": ('cold = "s3://b/x"\n' + OK, 1, 'cold = "s3://b/x"', "no URL of a folder", "file:///"),
    "cold a path": ('cold = "/mnt/tape"\n' + OK, 1, 'cold = "/mnt/tape"', "no URL of a folder", "file:///"),
    "cold a host": ('cold = "file://mnt/tape"\n' + OK, 1, 'cold = "file://mnt', "no URL of a folder", "file:///"),
    "cold a bracket": ('cold = "file://[x"\n' + OK, 1, 'cold = "file://[x"', "no URL of a folder", "file:///"),
    "cold the root": ('cold = "file:///"\n' + OK, 1, 'cold = "file:///"', "no URL of a folder", "file:///mnt"),
    "promotion a number": (
        "promotion = 5\n" + OK,
        1,
        "promotion = 5",
        "an integer stands where a table",
        "[promotion]",
    ),
    "promotion zero": (OK + "[promotion]\nevery = 0\n", 4, "promotion.every = 0", "from 1", "every = 5"),
    "promotion dotted": ("promotion.every = 1.5\n" + OK, 1, "promotion.every = 1.5", "a decimal number", "every = 5"),
    "save steps a text": (
        OK + '[promotion]\nsave_every_steps = "100"\n',
        4,
        'promotion.save_every_steps = "100"',
        "a text stands",
        "save_every_steps = 100",
    ),
    "no keep_for": ("[classes.x]\nevery = 2\n", 1, "classes.x", "for how long", 'keep_for = "14d"'),
    "keep_for a number": (of_class("keep_for = 14"), 2, "classes.x.keep_for = 14", "number alone", '"14d" for 14 days'),
    "keep_for a date": (of_class("keep_for = 2030-01-01"), 2, "keep_for = 2030-01-01", "a time is a text", '"14d"'),
    "keep_for in words": (of_class('keep_for = "two days"'), 2, '"two days"', "no time", '"14d"'),
    "keep_for empty": (of_class('keep_for = ""'), 2, 'classes.x.keep_for = ""', "no time", '"14d"'),
    "keep_for zero": (of_class('keep_for = "0w"'), 2, 'keep_for = "0w"', "at least one day", '"1w"'),
    "keep_for in hours": (of_class('keep_for = "36h"'), 2, 'keep_for = "36h"', "count whole days", '"2d"'),
    "keep_for in minutes": (of_class('keep_for = "90min"'), 2, 'keep_for = "90min"', "count whole days", '"1d"'),
    "keep_for in months": (of_class('keep_for = "6m"'), 2, 'keep_for = "6m"', "no fixed length", '"186d" for 6'),
    "keep_for with a word": (of_class('keep_for = "14 days"'), 2, 'keep_for = "14 days"', "d, w and y", '"14d"'),
    "keep_for in capitals": (of_class('keep_for = "1Y"'), 2, 'keep_for = "1Y"', "d, w and y", '"1y"'),
    "keep_for a fraction": (of_class('keep_for = "1.5y"'), 2, 'keep_for = "1.5y"', "no time", "whole days"),
    "keep_for too long": (of_class('keep_for = "101y"'), 2, 'keep_for = "101y"', "100 years", '"forever"'),
    "keep_for forewer": (of_class('keep_for = "forewer"'), 2, 'keep_for = "forewer"', "no time", '"forever"'),
    "keep_for never": (of_class('keep_for = "never"'), 2, 'keep_for = "never"', "no time", '"forever"'),
    "every zero": (of_class('keep_for = "2d"', "every = 0"), 3, "classes.x.every = 0", "from 1", "every = 12"),
    "every a text": (of_class('keep_for = "2d"', 'every = "12"'), 3, 'every = "12"', "a text stands", "every = 12"),
    "every twice": (
        '[classes.a]\nevery = 12\nkeep_for = "2d"\n[classes.b]\nkeep_for = "3d"\nevery = 12 # the same\n',
        6,
        "classes.b.every = 12",
        "classes.a has the same number",
        "another number",
    ),
    "milestone a number": (of_class('keep_for = "2d"', "milestone = 1"), 3, "milestone = 1", "no pattern", '"v*"'),
    "milestone empty": (of_class('keep_for = "2d"', 'milestone = ""'), 3, 'milestone = ""', "matches no", '"v*"'),
    "milestone never reached": (
        '[classes.a]\nmilestone = true\nkeep_for = "2d"\n[classes.b]\nkeep_for = "3d"\nmilestone = "v*"\n',
        6,
        'classes.b.milestone = "v*"',
        "classes.a stands before it",
        "narrower pattern first",
    ),
    "milestone twice": (
        '[classes.a]\nmilestone = "v*"\nkeep_for = "2d"\n[classes.b]\nkeep_for = "3d"\nmilestone = "v*"\n',
        6,
        'classes.b.milestone = "v*"',
        "classes.a stands before it",
        "narrower pattern first",
    ),
    "explicit a text": (
        of_class('keep_for = "2d"', 'explicit = "yes"'),
        3,
        'explicit = "yes"',
        "true or false",
        "true",
    ),
    "explicit and every": (
        of_class('keep_for = "2d"', "every = 2", "explicit = true"),
        4,
        "classes.x.explicit = true",
        "can not have 'every' too",
        "leave out explicit, or every",
    ),
    "class name in capitals": ('[classes.Daily]\nkeep_for = "2d"\n', 1, "classes.Daily", "a-z", "[classes.daily]"),
    "class name with dots": ('[classes."a.b"]\nkeep_for = "2d"\n', 1, 'classes."a.b"', "a-z", "[classes.a-b]"),
    "class name empty": ('[classes.""]\nkeep_for = "2d"\n', 1, 'classes.""', "a-z", "[classes.recent]"),
    "class name too long": (f'[classes.{"a" * 33}]\nkeep_for = "2d"\n', 1, "classes.aaa", "1 to 32", "[classes.aaa"),
    "class name reserved": ('[classes.none]\nkeep_for = "2d"\n', 1, "classes.none", "another meaning", "none-class"),
    "trash with a selector": (
        OK + '[classes.trash]\nkeep_for = "7d"\nevery = 2\n',
        5,
        "classes.trash.every = 2",
        "not known",
        "write keep_for",
    ),
    "trash too short": (OK + '[classes.trash]\nkeep_for = "1d"\n', 4, 'keep_for = "1d"', "2 to 90 days", '"7d"'),
    "trash for ever": (OK + '[classes.trash]\nkeep_for = "forever"\n', 4, '"forever"', "2 to 90 days", '"7d"'),
    "transitions a text": (
        of_class('keep_for = "2d"', 'transitions = "GLACIER"'),
        3,
        'transitions = "GLACIER"',
        "a text stands where an array",
        "transitions = [{",
    ),
    "transition a text": (moved('"GLACIER"'), 3, 'classes.x.transitions[0] = "GLACIER"', "where a table", "[{ after"),
    "transition without to": (
        moved('{ after = "30d" }'),
        3,
        "classes.x.transitions[0]",
        "'to' is missing",
        "{ after =",
    ),
    "transition without after": (moved('{ to = "GLACIER" }'), 3, "transitions[0]", "'after' is missing", "{ after ="),
    "transition to the beginning": (moved(move("3d", "STANDARD")), 3, '.to = "STANDARD"', "none of the", "STANDARD_IA"),
    "storage class unknown": (moved(move("3d", "glacier-ir")), 3, '.to = "glacier-ir"', "none of the", '"GLACIER_IR"'),
    "storage class a number": (moved('{ after = "3d", to = 4 }'), 3, ".to = 4", "an integer stands", '"GLACIER_IR"'),
    "transition after in hours": (moved(move("720h", "GLACIER")), 3, '.after = "720h"', "count whole days", '"30d"'),
    "transition at zero": (moved(move("0d", "GLACIER")), 3, '.after = "0d"', "at least one day", '"1d"'),
    "transition after expiry": (
        moved(move("60d", "GLACIER"), keep="30d"),
        3,
        'classes.x.transitions[0].after = "60d"',
        "ends at 30 days, so this never happens",
        "less than 30 days",
    ),
    "transition at expiry": (
        moved(move("30d", "INTELLIGENT_TIERING"), keep="30d"),
        3,
        '.after = "30d"',
        "never happens",
        "less than 30 days",
    ),
    "IA too young": (moved(move("29d", "STANDARD_IA")), 3, '.after = "29d"', "nothing younger than 30 days", '"30d"'),
    "one-zone IA too young": (moved(move("1d", "ONEZONE_IA")), 3, '.after = "1d"', "nothing younger than 30", '"30d"'),
    "IA left too soon": (
        moved(move("30d", "STANDARD_IA"), keep="45d"),
        3,
        '.after = "30d"',
        "paid for 30 days at least, and leaves after 15: you pay for days that it is not there",
        'keep_for = "60d" or more, or after = "15d" or less',
    ),
    "instant retrieval left too soon": (
        moved(move("14d", "GLACIER_IR"), keep="100d"),
        3,
        '.after = "14d"',
        "paid for 90 days at least, and leaves after 86",
        'keep_for = "104d" or more, or after = "10d"',
    ),
    "glacier left too soon": (
        moved(move("1d", "GLACIER"), keep="90d"),
        3,
        '.after = "1d"',
        "paid for 90 days at least, and leaves after 89",
        'keep_for = "91d" or more, or leave',
    ),
    "deep archive left too soon": (
        moved(move("10d", "DEEP_ARCHIVE"), keep="180d"),
        3,
        '.after = "10d"',
        "paid for 180 days at least",
        'keep_for = "190d"',
    ),
    "transitions not ascending": (
        moved(move("200d", "GLACIER_IR"), move("100d", "GLACIER")),
        3,
        'transitions[1].after = "100d"',
        "it comes after the move at 200 days",
        "order transitions by age",
    ),
    "transition to a warmer class": (
        moved(move("30d", "GLACIER"), move("200d", "GLACIER_IR")),
        3,
        'transitions[1].to = "GLACIER_IR"',
        "can not go there from GLACIER",
        "one of DEEP_ARCHIVE",
    ),
    "transition out of the last": (
        moved(move("30d", "DEEP_ARCHIVE"), move("300d", "GLACIER")),
        3,
        'transitions[1].to = "GLACIER"',
        "can not go there from DEEP_ARCHIVE",
        "nothing",
    ),
    "the same class twice": (
        moved(move("30d", "GLACIER"), move("200d", "GLACIER")),
        3,
        'transitions[1].to = "GLACIER"',
        "can not go there from GLACIER",
        "DEEP_ARCHIVE",
    ),
    "one zone to instant retrieval": (
        moved(move("30d", "ONEZONE_IA"), move("200d", "GLACIER_IR")),
        3,
        'transitions[1].to = "GLACIER_IR"',
        "can not go there from ONEZONE_IA",
        "GLACIER, DEEP_ARCHIVE",
    ),
    "next transition too soon": (
        moved(move("10d", "GLACIER_IR"), move("60d", "DEEP_ARCHIVE")),
        3,
        'transitions[1].after = "60d"',
        "GLACIER_IR is paid for 90 days at least, from day 10 on",
        '"100d" or more',
    ),
    "cold without a root": (moved(move("3d", "COLD")), 3, '.to = "COLD"', "no second root", 'cold = "file:///'),
    "cold between others": (
        'cold = "file:///mnt/tape"\n' + moved(move("3d", "COLD"), move("9d", "GLACIER")),
        4,
        'transitions[1].to = "GLACIER"',
        "can not go there from COLD",
        "nothing",
    ),
    "lock a flag": (of_class('keep_for = "1y"', "lock = true"), 3, "lock = true", "where a table", "mode ="),
    "lock without mode": (
        of_class('keep_for = "1y"', 'lock = { for = "1y" }'),
        3,
        "classes.x.lock",
        "'mode'",
        "mode =",
    ),
    "lock without time": (
        of_class('keep_for = "1y"', 'lock = { mode = "GOVERNANCE" }'),
        3,
        "classes.x.lock",
        "'for' is missing",
        "for =",
    ),
    "lock mode unknown": (
        of_class('keep_for = "1y"', 'lock = { mode = "compliance", for = "1y" }'),
        3,
        'classes.x.lock.mode = "compliance"',
        "none of the possible",
        '"COMPLIANCE"',
    ),
    "lock longer than keep": (
        of_class('keep_for = "1y"', 'lock.mode = "COMPLIANCE"', 'lock.for = "367d"'),
        4,
        'classes.x.lock.for = "367d"',
        "outlasts the class, which ends at 366 days",
        'for = "366d" or less',
    ),
    "lock for ever": (
        of_class('keep_for = "forever"', 'lock = { mode = "COMPLIANCE", for = "forever" }'),
        3,
        'classes.x.lock.for = "forever"',
        "no time",
        '"14d"',
    ),
    "legal basis a number": (
        of_class('keep_for = "1y"', "legal_basis = 18"),
        3,
        "legal_basis = 18",
        "a text",
        "Art. 18",
    ),
    "legal basis a book": (
        of_class('keep_for = "1y"', f'legal_basis = "{"x" * 1_001}"'),
        3,
        "classes.x.legal_basis",
        "1001 characters",
        "at most 1000",
    ),
    "review a text": (
        of_class('keep_for = "1y"', 'review = "2027-01-01"'),
        3,
        'review = "2027-01-01"',
        "a text is no day",
        "without quotes",
    ),
    "review a moment": (
        of_class('keep_for = "1y"', "review = 2027-01-01 12:00:00"),
        3,
        "review = 2027-01-01 12:00:00",
        "a date or time is no day",
        "review = 2027-01-01",
    ),
    "quota a text": ('quota = "1TB"\n' + OK, 1, 'quota = "1TB"', "a text stands where a table", "[quota.runs]"),
    "quota of runs a text": ('quota.runs = "1TB"\n' + OK, 1, 'quota.runs = "1TB"', "a text stands", "[quota.runs]"),
    "quota a number": (OK + "[quota.runs]\na = 5\n", 4, "quota.runs.a = 5", "a size is a text", '"50TB"'),
    "quota without a unit": (OK + '[quota.runs]\na = "5"\n', 4, 'quota.runs.a = "5"', "no size", '"50TB"'),
    "quota of an unknown unit": (OK + '[quota.projects]\n"a*" = "5 tb"\n', 4, '"a*" = "5 tb"', "no size", "units: KB"),
    "quota of nothing": (OK + '[quota.runs]\na = "0TB"\n', 4, 'quota.runs.a = "0TB"', "more than nothing", '"500GB"'),
    "quota of nobody": (OK + '[quota.runs]\n"" = "1TB"\n', 4, 'quota.runs."" = "1TB"', "matches no name", '"*"'),
    "too many rules": (MANY, 1_993, "classes.c996", "at most 1000 lifecycle rules", "at most 996 classes"),
}


@pytest.mark.parametrize(("text", "line", "key", "wrong", "right"), BAD.values(), ids=BAD.keys())
def test_a_mistake_is_named_with_its_line_key_and_value(text: str, line: int, key: str, wrong: str, right: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load(text, "retention.toml")
    said = str(caught.value)
    found = [part for part in said.split("\n") if part.startswith(f"retention.toml:{line}: ")]
    assert any(key in part and wrong in part and right in part for part in found), said
    assert caught.value.exit_code == 2
    assert "Traceback" not in exits.describe(caught.value, as_json=False)


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_its_lines() -> None:
    text = (
        'defualt = "x" # a comment\n'
        "keep_newest = 0\n"
        "\n"
        "[classes.daily]\n"
        'keep_for = "48h"\n'
        "transitions = [\n"
        '  { after = "30d", to = "GLACIER_IR" }, # fine\n'
        '  { after = "31d", to = "GLACIER_IT" },\n'
        "]\n"
        "[classes.b]\n"
        'keep_for = "1y"\n'
        'lock.for = "2y"\n'
        'lock.mode = "COMPLIANCE"\n'
    )
    with pytest.raises(InvalidInputError) as caught:
        load(text, "p.toml")
    lines = exits.describe(caught.value, as_json=False).splitlines()
    assert lines[0] == "error: p.toml has 5 mistakes"
    assert [line.partition(": ")[0] for line in lines[1:]] == [f"p.toml:{number}" for number in (1, 2, 5, 8, 12)]


def test_what_a_file_says_can_not_steer_a_terminal() -> None:
    with pytest.raises(InvalidInputError) as caught:
        load('[classes.x]\nkeep_for = "\u202e\u009b2d"\n', "p.toml")
    assert "\\u202e\\x9b" in exits.describe(caught.value, as_json=False)


def test_a_file_that_is_no_utf8_is_named_with_its_line() -> None:
    with pytest.raises(InvalidInputError, match=r"p.toml:2: this is no UTF-8"):
        decode(b"version = 1\nx = '\xff'\n", "p.toml")


def test_a_file_as_editors_of_windows_write_it_is_read() -> None:
    policy = load(decode(b'\xef\xbb\xbf[classes.x]\r\nkeep_for = "2d"\r\n', "p.toml"), "p.toml")
    assert policy.default == "x"
    with pytest.raises(InvalidInputError, match=r'p.toml:3: classes.x.every = "a"'):
        load('[classes.x]\r\nkeep_for = "2d"\r\nevery = "a"\r\n', "p.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = " + "[" * 100_000, "nested too deeply"),
        ("x = " + "1" * 10_000, "no TOML"),
        ("#" * (1 << 20) + "\n", "at most 1048576 bytes"),
        ("x = '\ud800'", "no valid Unicode"),
    ],
)
def test_a_monstrous_file_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        load(text, "p.toml")


def test_a_missing_file_and_an_unknown_preset_say_which_there_are() -> None:
    with pytest.raises(InvalidInputError, match=r"no preset 'defualt'. Use default, or"):
        preset("defualt")
    with pytest.raises(
        InvalidInputError, match=r"no policy file 'p.toml'. Name a file, or one of the presets default, min"
    ):
        find_policy("p.toml", lambda _: None)


def test_at_least_sixty_mistakes_are_tried() -> None:
    assert len(BAD) >= 60
