"""Questions that are ready to ask: SQL with a header that says for whom it is, and parameters that become literals.

    -- title: Gaps in a run's cadence
    -- for: the engineer who wants to know when training stood still
    -- answers: where two checkpoints of a launch lie further apart than they should
    -- param run text: the run
    -- param minutes number = 30: what counts as a gap
    -- param since date = today-30: the first day looked at
    SELECT … WHERE run = :run AND …

An empty default is the empty text. Dates are days such as 2026-01-31, or count from today; they become texts, because not
every engine takes a typed literal everywhere. Beside ``NAME.sql`` a ``NAME.athena.sql`` may stand, if dialects differ.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import resources

from ckpt_archive.errors import InvalidInputError, NotFoundError

_HEADER = re.compile(r"--[ \t]*(title|for|answers)[ \t]*:[ \t]*(\S.*)")
_PARAMETER = re.compile(
    r"--[ \t]*param[ \t]+([a-z][a-z0-9_]*)[ \t]+(text|integer|number|date)(?:[ \t]*=[ \t]*(.*?))?:[ \t]+(\S.*)"
)
# Where a colon means something else comes first: texts, quoted names, comments, casts.
_PIECES = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | :: | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)""", re.X | re.S
)
_RELATIVE = re.compile(r"today([+-][0-9]{1,6})?")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SUFFIX = ".sql"
_ATHENA = ".athena"


@dataclass(frozen=True, slots=True)
class Parameter:
    """What has to be said before a question can be asked.

    Attributes:
        name: In the SQL it stands behind a colon.
        type: "text", "integer", "number" or "date".
        default: As it would be given; None if it must be given.
        meaning: For people.
    """

    name: str
    type: str
    default: str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class SavedQuestion:
    """A question that is ready to ask.

    Attributes:
        name: Of its file.
        title: What it is called.
        audience: For whom.
        answers: What it answers.
        parameters: In the order of the header.
        sql: In DuckDB's dialect, and in Athena's unless `athena_sql` is there.
        athena_sql: In Athena's dialect, where that must differ.
    """

    name: str
    title: str
    audience: str
    answers: str
    parameters: tuple[Parameter, ...]
    sql: str
    athena_sql: str | None = None

    def bound(self, given: Mapping[str, str], today: date, *, engine: str = "duckdb") -> str:
        """The SQL with literals in place of its parameters.

        Args:
            given: Values by name, as they are typed.
            today: From where relative dates count.
            engine: "duckdb" or "athena".

        Raises:
            InvalidInputError: If one is missing, unknown, or not of its type.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        usage = f"Parameters of {self.name}: {', '.join(map(_usage, self.parameters)) or 'none'}."
        if unknown := sorted(given.keys() - known.keys()):
            raise InvalidInputError(f"the question {self.name} has no parameter {unknown[0]!r}", hint=usage)
        literals: dict[str, str] = {}
        for parameter in self.parameters:
            text = given.get(parameter.name, parameter.default)
            if text is None:
                raise InvalidInputError(f"the question {self.name} needs {parameter.name}", hint=usage)
            try:
                literals[parameter.name] = literal(text, parameter.type, today)
            except ValueError as error:
                raise InvalidInputError(f"the parameter {parameter.name}: {error}", hint=usage) from error
        sql = self.athena_sql if engine == "athena" and self.athena_sql is not None else self.sql
        return _PIECES.sub(lambda match: literals[match["name"]] if match["name"] else match[0], sql)


def literal(text: str, kind: str, today: date) -> str:
    """The SQL literal of a value that was typed by somebody; of a date the text.

    Raises:
        ValueError: If it is not of that type.
    """
    match kind:
        case "text":
            if "\0" in text:
                raise ValueError("a text can not hold the character NUL")
            escaped = text.replace("'", "''")
            return f"'{escaped}'"
        case "integer":
            if not re.fullmatch(r"-?[0-9]{1,19}", text) or not -(2**63) <= int(text) < 2**63:
                raise ValueError(f"{text[:100]!r} is not an integer")
            return str(int(text)) if int(text) >= 0 else f"({int(text)})"
        case "number":
            return _number(text)
        case "date":
            return f"'{_day(text, today).isoformat()}'"
    raise ValueError(f"there is no type {kind!r}")


def parse(name: str, text: str, athena: str | None = None) -> SavedQuestion:
    """The question in a file.

    Raises:
        InvalidInputError: If its header is not whole, or parameters and placeholders are not the same.
    """
    if not _NAME.fullmatch(name):
        raise _wrong(name, "it may only hold a-z, 0-9, '-' and '_'")
    said: dict[str, str] = {}
    parameters: list[Parameter] = []
    lines = text.splitlines()
    end = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("--")), len(lines))
    for line in lines[:end]:
        if match := _HEADER.fullmatch(line.rstrip()):
            said[match[1]] = match[2]
        elif match := _PARAMETER.fullmatch(line.rstrip()):
            parameters.append(Parameter(match[1], match[2], _default(match[3]), match[4]))
        elif re.match(r"--[ \t]*param\b", line):
            raise _wrong(name, f"{line!r} is not of the form '-- param NAME TYPE = DEFAULT: meaning'")
    if missing := [key for key in ("title", "for", "answers") if key not in said]:
        raise _wrong(name, f"its header does not say '-- {missing[0]}: …'")
    sql = "\n".join(lines[end:]).strip() + "\n"
    if athena is not None:
        athena = "\n".join(line for line in athena.splitlines() if not line.startswith("--")).strip() + "\n"
    names = {parameter.name for parameter in parameters}
    for body in (sql, *([athena] if athena is not None else [])):
        if names != placeholders(body):
            odd = sorted(names ^ placeholders(body))
            raise _wrong(name, f"{', '.join(odd)} must stand both in its header and in its SQL")
    for parameter in parameters:
        if parameter.default is not None:
            _check_default(name, parameter)
    return SavedQuestion(name, said["title"], said["for"], said["answers"], tuple(parameters), sql, athena)


def placeholders(sql: str) -> set[str]:
    """The names that stand behind a colon, outside of texts and comments."""
    return {match["name"] for match in _PIECES.finditer(sql) if match["name"]}


def saved_questions() -> list[SavedQuestion]:
    """All that come with this release, by name."""
    folder = resources.files("ckpt_archive.index").joinpath("saved")
    texts = {item.name: item.read_text("utf-8") for item in folder.iterdir() if item.name.endswith(_SUFFIX)}
    names = sorted(name.removesuffix(_SUFFIX) for name in texts if not name.endswith(_ATHENA + _SUFFIX))
    return [parse(name, texts[name + _SUFFIX], texts.get(name + _ATHENA + _SUFFIX)) for name in names]


def saved_question(name: str) -> SavedQuestion:
    """One of them.

    Raises:
        NotFoundError: If there is none of that name.
    """
    import difflib  # noqa: PLC0415 - only where somebody mistyped

    found = {question.name: question for question in saved_questions()}
    if name not in found:
        near = difflib.get_close_matches(name.replace("_", "-").lower(), found, n=3, cutoff=0.5)
        guess = f"Did you mean {' or '.join(near)}? " if near else ""
        raise NotFoundError(
            f"there is no saved question {name!r}", hint=f"{guess}`ckpt-archive query --list` shows them all."
        )
    return found[name]


def _usage(parameter: Parameter) -> str:
    default = "" if parameter.default is None else f" = {parameter.default}" if parameter.default else " = ''"
    return f"{parameter.name} ({parameter.type}{default}): {parameter.meaning}"


def _day(text: str, today: date) -> date:
    try:
        if match := _RELATIVE.fullmatch(text):
            return today + timedelta(days=int(match[1] or 0))
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{text!r} is no day of the calendar") from error
    raise ValueError(f"{text[:100]!r} is not a date such as 2026-01-31, today or today-30")


def _number(text: str) -> str:
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{text[:100]!r} is not a number") from error
    if not math.isfinite(value) or not re.fullmatch(r"[-+0-9.eE]+", text):
        raise ValueError(f"{text[:100]!r} is not a finite number")
    spelled = text if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", text) else repr(value)
    return f"({spelled})" if spelled.startswith("-") else spelled


def _default(text: str | None) -> str | None:
    if text is None:
        return None
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] == "'"
    return text[1:-1].replace("''", "'") if is_quoted else text


def _check_default(name: str, parameter: Parameter) -> None:
    try:
        literal(parameter.default or "", parameter.type, date(2026, 1, 1))
    except ValueError as error:
        raise _wrong(name, f"the default of {parameter.name}: {error}") from error


def _wrong(name: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"the saved question {name!r} can not be used: {problem}")
