"""Makes a `Policy` of a `retention.toml`, or says all that is wrong with it: line, key, value, and what would be right."""

import hashlib
import importlib.resources
import re
import tomllib
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from ckpt_archive.errors import InvalidInputError, MistakesError
from ckpt_archive.retention.policy.classes import read_classes
from ckpt_archive.retention.policy.lines import find_spots
from ckpt_archive.retention.policy.reader import Mistakes, Table, kind, nearest
from ckpt_archive.retention.policy.units import read_bytes, read_days
from ckpt_archive.retention.policy.values import TRASH, Policy, Quota, RetentionClass

PRESETS = ("default", "minimal-cost", "eu-ai-10y")
"""Policies that come with the package."""

FILE_NAME = "retention.toml"

MAX_FILE_BYTES = 1 << 20
MAX_RULES = 1_000
"""Of a bucket (Amazon S3 User Guide, "Lifecycle configuration elements")."""

OWN_RULES = 3
"""Those that are there whatever the classes are: for uploads, markers and the index."""

_OWNERS = ("ckpt-archive", "terraform")
_KEYS = (
    "version",
    "default",
    "lifecycle_owner",
    "keep_newest",
    "notice",
    "abort_incomplete",
    "cold",
    "promotion",
    "classes",
    "quota",
)


def load(text: str, name: str) -> Policy:
    """The policy in a file's text.

    Args:
        text: TOML.
        name: The file's, for messages.

    Raises:
        InvalidInputError: Naming all that is wrong.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{name}: this is no valid Unicode", hint="Save it as UTF-8.") from error
    if len(data) > MAX_FILE_BYTES:
        raise InvalidInputError(
            f"{name} has {len(data)} bytes", hint=f"A policy has a few kilobytes, and at most {MAX_FILE_BYTES} bytes."
        )
    try:
        document = tomllib.loads(text)
        spots = find_spots(text)
    except RecursionError as error:
        raise InvalidInputError(f"{name}: arrays or tables are nested too deeply", hint="Nest them less.") from error
    except ValueError as error:
        raise InvalidInputError(
            _not_toml(text, name, error), hint="Mend the line; https://toml.io shows how."
        ) from error
    mistakes = Mistakes(name, spots)
    policy = _policy(Table(mistakes, (), document, _KEYS), name, text, hashlib.sha256(data).hexdigest())
    if found := mistakes.texts():
        raise MistakesError(name, found)
    return policy


def preset(name: str) -> Policy:
    """A policy that comes with the package.

    Raises:
        InvalidInputError: If there is none of that name.
    """
    if name not in PRESETS:
        raise InvalidInputError(
            f"there is no preset {name!r}", hint=f"Use {nearest(name, PRESETS)}, or name a policy file."
        )
    text = importlib.resources.files(__package__).joinpath(f"presets/{name}.toml").read_text("utf-8")
    return load(text, name)


def find_policy(said: str | None, read: Callable[[str], bytes | None]) -> Policy:
    """The policy that somebody means.

    Args:
        said: A preset or the path of a file; None: `FILE_NAME` if there is one, else the preset ``default``.
        read: The bytes of a file; None if there is none.

    Raises:
        InvalidInputError: If there is no such file, or something is wrong with it.
    """
    if said in PRESETS:
        return preset(said)
    path = FILE_NAME if said is None else said
    data = read(path)
    if data is not None:
        return load(decode(data, path), path)
    if said is None:
        return preset("default")
    raise InvalidInputError(
        f"there is no policy file {said!r}", hint=f"Name a file, or one of the presets {', '.join(PRESETS)}."
    )


def decode(data: bytes, name: str) -> str:
    """The text of a policy file.

    Raises:
        InvalidInputError: If it is no UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInputError(f"{name}:{line}: this is no UTF-8 text", hint="Save it as UTF-8.") from error


def _not_toml(text: str, name: str, error: ValueError) -> str:
    """What `tomllib` says, with the line in front."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
    if found is None:
        return f"{name}: this is no TOML: {error}"
    line = int(found[1]) if found[1] else max(1, len(text.splitlines()))
    lines = text.replace("\r\n", "\n").split("\n")
    shown = lines[line - 1].strip()[:80] if line <= len(lines) else ""
    return f"{name}:{line}: {shown!r}: this is no TOML: {str(error)[: found.start()]}"


def _policy(top: Table, name: str, text: str, sha256: str) -> Policy:
    if top.has("version") and (
        top.raw("version") != 1 or not isinstance(top.raw("version"), int) or top.raw("version") is True
    ):
        top.wrong("version", "this release knows version 1", "write version = 1, or upgrade ckpt-archive")
    cold = _cold(top)
    if top.has("classes"):
        classes, explicit = read_classes(top.mistakes, top.raw("classes"), has_cold=top.has("cold"))
    else:
        right = 'write for instance [classes.recent] with keep_for = "14d"'
        top.mistakes.add((), "there is no class", right)
        classes, explicit = (), []
    _check_rules(top, classes)
    promotion = top.table("promotion", ("every", "save_every_steps"), "write [promotion] with every = 5 below it")
    every_right = "write a number such as every = 5"
    steps_right = "write your save interval, such as save_every_steps = 100"
    return Policy(
        classes=classes,
        default=_default(top, classes, explicit),
        lifecycle_owner=top.choice("lifecycle_owner", _OWNERS, _OWNERS[0]),
        keep_newest=top.count("keep_newest", 3, "write keep_newest = 3, and at least 1: a run must go on"),
        notice_days=top.measured("notice", read_days, 2),
        abort_incomplete_days=top.measured("abort_incomplete", read_days, 7),
        every=promotion.count("every", None, every_right) if promotion else None,
        save_every_steps=promotion.count("save_every_steps", None, steps_right) if promotion else None,
        cold=cold,
        quotas=_quotas(top),
        name=name,
        text=text,
        sha256=sha256,
    )


def _cold(top: Table) -> str:
    right = 'write cold = "file:///mnt/tape/archive"'
    url = top.text("cold", right)
    if not top.has("cold") or not isinstance(top.raw("cold"), str):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket that is not closed
        parts = urlsplit("")
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/") or parts.path.strip("/") == "":
        top.wrong("cold", "that is no URL of a folder", right)
    return url


def _default(top: Table, classes: Sequence[RetentionClass], explicit: Sequence[str]) -> str:
    """The class of what no other one chooses."""
    named = [item.name for item in classes if item.name != TRASH]
    if top.has("default"):
        name = top.text("default", 'write default = "recent"')
        if name == TRASH:
            top.wrong("default", "checkpoints that nobody chose would end as if dropped", "name another class")
        elif name in explicit:
            top.wrong("default", f"classes.{name} is given explicitly only", "leave out its 'explicit'")
        elif isinstance(top.raw("default"), str) and name not in named:
            top.wrong("default", "there is no such class", f"write {nearest(name, named, quoted=True)}")
        return name
    plain = [
        item.name
        for item in classes
        if item.name in named and item.every is None and not item.milestone and item.name not in explicit
    ]
    if len(plain) == 1:
        return plain[0]
    return next((name for name in ("default", "recent") if name in plain), "")


def _check_rules(top: Table, classes: Sequence[RetentionClass]) -> None:
    rules = OWN_RULES
    for item in sorted(classes, key=lambda item: item.name != TRASH):
        rules += item.keep_days is not None or bool(item.transitions)
        if rules > MAX_RULES:
            problem = f"a bucket has at most {MAX_RULES} lifecycle rules, and from here on there are more"
            top.mistakes.add(("classes", item.name), problem, f"use at most {MAX_RULES - OWN_RULES - 1} classes")
            return


def _quotas(top: Table) -> tuple[Quota, ...]:
    right = 'write [quota.runs] with "llama-*" = "50TB" below it'
    quota = top.table("quota", ("runs", "projects"), right)
    if quota is None:
        return ()
    found: list[Quota] = []
    for key, scope in (("runs", "run"), ("projects", "project")):
        value = quota.raw(key)
        if value is None:
            continue
        if not isinstance(value, dict):
            quota.wrong(key, f"{kind(value)} stands where a table belongs", right)
            continue
        table = Table(top.mistakes, ("quota", key), value, tuple(value))
        for pattern in value:
            size = table.measured(pattern, read_bytes, None)
            if not pattern:
                table.wrong(pattern, "an empty pattern matches no name", 'write "*" for all')
            elif size is not None:
                found.append(Quota(scope, pattern, size))
    return tuple(found)
