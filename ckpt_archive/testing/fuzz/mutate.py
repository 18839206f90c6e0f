"""Makes what is almost right wrong, and what is wrong smaller. A pure function of the chance it is given."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, cast

from ckpt_archive import record

Value = Any  # a JSON value, bytes or text

TEXTS: tuple[str, ...] = (
    "", ".", "..", "/", "//", "a/../b", "../../etc/passwd", "/etc/passwd", "a//b", "a/", "./a", "a/./b", "\\",
    "..\\..\\x", "C:\\x",
    "CON", "con.txt", "nul", "aux ", "trailing.", "trailing ", "a\0b", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07",
    "\x9b31m", "\x7f",
    "a\nb", "a\rb", "a\tb", "\u202egnp.exe", "\u200b", "\ufeff", "\u2028", "\ud800", "a\udcffb", "\udfff\ud800", "é",
    "e\u0301", "\u017f", "ß", "SS",
    "İ", "ﬁ", "\U0001f600", "K", "Å", "\u0130", "-rf", "--help", "~", "$(id)", "`id`", "'", '"', "a'b", "%2e%2e%2f",
    "%00", "?", "#", "*",
    ".tmp/x", ".nfs0001", ".partial-0", ".lock", "files", "seal.json", "x" * 255, "x" * 256, "é" * 127, "é" * 128,
    "x" * 1001, "a/" * 32 + "a",
    "a/" * 600, "0", "-1", "00000000", "99999999", "999999999999", "٣", "\uff11\uff12\uff13", "1_000", " 1",
    "1 ", "+1", "0x10",
    "1e3", "1e999", "nan", "inf",
    "2026-03-01T12:00:00.000000Z", "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z",
    "2026-02-30T12:00:00.000000Z",
    "2026-03-01T24:00:00.000000Z", "2026-03-01T12:00:60.000000Z", "0000-01-01T00:00:00.000000Z",
    "2026-03-01T12:00:00Z",
    "a" * 64, "A" * 64, "g" * 64, "a" * 63, "00000000", "fffffffff", "sealed", "assumed", "identity", "zstd",
    "push:run-a", "latest",
)  # fmt: skip
NUMBERS: tuple[int | float, ...] = (
    0, 1, 2, -1, 7, 255, 256, 999, 1000, 4096, 10**6 - 1, 10**6, 10**6 + 1, 10**8 - 1, 10**8, 10**12 - 1, 10**12,
    2**31 - 1, 2**31, 2**32,
    2**53, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**300, 0.0, -0.0, 0.5, 1.0, 1e308, 5e-324,
    1e16,
)  # fmt: skip
OTHERS: tuple[Value, ...] = (None, True, False, [], {}, [[]], {"": {}}, [None], {"a": 1}, ["x"] * 3)
LITERALS: tuple[bytes, ...] = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1e-999", b"9" * 4300, b"9" * 4301, b"9" * 20000, b"-0",
    b"00", b"01", b"1.", b".5",
    b'"\\ud800"', b'"\\u0000"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"',
    b"[" * 17 + b"]" * 17, b"[" * 5000 + b"]" * 5000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000, b"[" * 100_000, b"tru", b"nul", b"'x'", b"/**/1", b"\x00",
    b"\xef\xbb\xbf1", b'{"a":1,"a":2}', b"",
)  # fmt: skip


def value_of(chance: random.Random) -> Value:
    """Something that hardly anybody expects."""
    pick = chance.random()
    if pick < 0.45:
        return chance.choice(TEXTS)
    if pick < 0.8:
        return chance.choice(NUMBERS)
    if pick < 0.97:
        return copy.deepcopy(chance.choice(OTHERS))
    deep: Value = 1
    for _ in range(chance.choice((3, 12, 15, 16, 17, 60))):
        deep = [deep] if chance.random() < 0.5 else {"d": deep}
    return deep


def mutated(chance: random.Random, value: Value) -> Value:
    """A copy of a JSON value in which 1 to 4 things are otherwise."""
    found = json.loads(json.dumps(value))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        _mutate(chance, found)
    return found


def _mutate(chance: random.Random, root: Value) -> None:
    places = [(holder, key) for holder, key in _places(root)]
    if not places:
        return
    holder, key = chance.choice(places)
    old = holder[key]
    match chance.randrange(9):
        case 0 if isinstance(holder, dict):
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(chance.randrange(len(holder) + 1), copy.deepcopy(chance.choice(holder)))
        case 2 if isinstance(holder, list):
            del holder[key]
        case 3 if isinstance(holder, dict):
            holder[chance.choice(TEXTS)] = holder.pop(key)
        case 4 if isinstance(holder, dict):
            holder[chance.choice(_NAMES)] = value_of(chance)
        case 5:
            other, its_key = chance.choice(places)
            holder[key] = copy.deepcopy(other[its_key])
        case 6 if isinstance(old, str):
            holder[key] = text_mutated(chance, old)
        case 7 if isinstance(old, int) and not isinstance(old, bool):
            holder[key] = old + chance.choice((-1, 1, 2, -(2**40), 2**40, 2**63)) if chance.random() < 0.7 else -old
        case _:
            holder[key] = value_of(chance)


_NAMES = (
    "requires", "version", "format", "crc32c", "key", "encoding", "stored_size", "stored_sha256", "class", "object",
    "offset", "size", "path",
    "sha256", "rank", "late", "step", "unknown", "falls_back_to", "resume_from", "from_ring", "quota_bytes",
)  # fmt: skip


def _places(value: Value) -> Iterator[tuple[Value, Value]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def text_mutated(chance: random.Random, text: str) -> str:
    """A text in which something is otherwise."""
    at = chance.randrange(len(text) + 1)
    match chance.randrange(6):
        case 0:
            return text[:at] + chance.choice(TEXTS) + text[at:]
        case 1:
            return text[:at] + text[at + 1 :]
        case 2:
            return (
                text[:at]
                + chr(
                    chance.choice(
                        (0, 9, 10, 27, 46, 47, 92, 127, 155, 0x301, 0xD800, 0x202E, chance.randrange(0x11000))
                    )
                )
                + text[at:]
            )
        case 3:
            return text.upper()
        case 4:
            return text * chance.choice((2, 3, 20))
        case _:
            return chance.choice(TEXTS)


def bytes_mutated(chance: random.Random, data: bytes) -> bytes:
    """Bytes in which some are otherwise: whatever they mean."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(6):
            case 0 if found:
                found[at % len(found)] ^= 1 << chance.randrange(8)
            case 1:
                found[at:at] = chance.choice(LITERALS)
            case 2:
                del found[at : at + chance.choice((1, 4, 100))]
            case 3:
                found[at:at] = found[at : at + chance.choice((1, 10, 200))]
            case 4:
                del found[at:]
            case _:
                found[at : at + 1] = bytes((chance.randrange(256),))
    return bytes(found)


def sealed(value: Value) -> bytes:
    """The bytes of a record that somebody made of `value`: its checksum is right if there can be one."""
    if isinstance(value, bytes):
        return value
    try:
        return record.with_checksum(value)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return json.dumps(value).encode()


def minimised(value: Value, still: Callable[[Value], bool], tries: int = 2_000) -> Value:
    """The smallest of what is left of `value` that is `still` as it was, as far as taking things away leads."""
    changed = True
    while changed and tries > 0:
        changed = False
        for smaller in _smaller(value):
            tries -= 1
            if tries <= 0:
                break
            if still(smaller):
                value, changed = smaller, True
                break
    return value


def _smaller(value: Value) -> Iterator[Value]:  # noqa: C901 - one kind of value after the other
    if isinstance(value, dict):
        for key in value:
            yield {name: inner for name, inner in value.items() if name != key}
        for key, inner in value.items():
            for less in _smaller(inner):
                yield {**value, key: less}
    elif isinstance(value, (list, tuple, str, bytes)):
        size = len(value)
        piece = size
        while piece:
            for at in range(0, size, piece):
                if piece < size or size:
                    yield cast("Any", value)[:at] + cast("Any", value)[at + piece :]
            piece //= 2
        if isinstance(value, (list, tuple)):
            for index, inner in enumerate(value):
                for less in _smaller(inner):
                    changed = [*value[:index], less, *value[index + 1 :]]
                    yield changed if isinstance(value, list) else tuple(changed)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > 1:
        yield value // 2
