"""Reads the Terraform module: its blocks, the references in its expressions, and its policies, rendered."""

import functools
import importlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

hcl2: Any = importlib.import_module("hcl2")  # has no types

MODULE = Path(__file__).parents[2] / "terraform"
EXAMPLES = tuple(sorted(path for path in (MODULE / "examples").iterdir() if path.is_dir()))
TESTS = tuple(sorted((MODULE / "tests").glob("*.tftest.hcl")))

_ROOT = re.compile(r"(?<![\w.\"-])([a-z_][a-z0-9_]*)((?:\.[a-z_][a-z0-9_]*|\[[^\[\]]*\])+)")
_CALL = re.compile(r"(?<![\w.])([a-z0-9_]+)\(")


@functools.cache
def parsed(path: Path) -> dict[str, Any]:
    """A file as python-hcl2 has it, without what it adds."""
    found = _plain(hcl2.loads(path.read_text(encoding="utf-8")))
    assert isinstance(found, dict)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_unquoted(name): _plain(item) for name, item in value.items() if not name.startswith("__")}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def literal(value: Any) -> Any:
    """A text without its quotes; anything else as it is."""
    return json.loads(value) if isinstance(value, str) and value.startswith('"') else value


@dataclass(slots=True)
class Module:
    """A folder of Terraform files.

    Attributes:
        variables: By name.
        outputs: By name.
        locals: By name.
        resources: By ``type.name``.
        data: By ``type.name``.
        calls: Modules that it calls, by name.
        blocks: All others, by kind.
    """

    folder: Path
    variables: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    locals: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, Any] = field(default_factory=dict)
    blocks: list[tuple[str, Any]] = field(default_factory=list)

    @classmethod
    @functools.cache
    def read(cls, folder: Path) -> "Module":
        """All ``*.tf`` of a folder; a name that is given twice is an error."""
        found = cls(folder)
        for path in sorted(folder.glob("*.tf")):
            for kind, blocks in parsed(path).items():
                for block in blocks:
                    found.add(kind, block)
        return found

    def add(self, kind: str, block: Any) -> None:
        """Take in one block."""
        match kind:
            case "variable":
                _add(self.variables, block)
            case "output":
                _add(self.outputs, block)
            case "locals":
                _add(self.locals, block)
            case "module":
                _add(self.calls, block)
            case "resource" | "data":
                for type_, named in block.items():
                    _add(
                        self.resources if kind == "resource" else self.data,
                        {f"{type_}.{name}": body for name, body in named.items()},
                    )
            case _:
                self.blocks.append((kind, block))

    @property
    def required(self) -> set[str]:
        """Variables that have no default."""
        return {name for name, body in self.variables.items() if "default" not in body}

    def everything(self) -> Iterator[tuple[str, Any]]:
        """All that may refer to something, with a name for messages."""
        for kind in ("variables", "outputs", "locals", "resources", "data", "calls"):
            for name, body in getattr(self, kind).items():
                yield f"{kind}: {name}", body
        yield from self.blocks


def _add(all_: dict[str, Any], new: Mapping[str, Any]) -> None:
    assert not (twice := all_.keys() & new.keys()), twice
    all_.update(new)


def expressions(value: Any) -> Iterator[str]:
    """All expressions in a block, without the texts that they quote."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from expressions(name)
            yield from expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item)
    elif isinstance(value, str):
        yield from _inside(value)


def _inside(text: str) -> Iterator[str]:
    """The interpolations of a template, each split into its code and the interpolations of the texts it quotes."""
    at = 0
    while (start := text.find("${", at)) >= 0:
        if start and text[start - 1] == "$":
            at = start + 2
            continue
        code, at = _code(text, start + 2)
        bare = []
        rest = 0
        for quoted in _quoted(code):
            bare.append(code[rest : quoted[0]])
            yield from _inside(code[quoted[0] + 1 : quoted[1] - 1])
            rest = quoted[1]
        yield '""'.join([*bare, code[rest:]])


def _code(text: str, start: int) -> tuple[str, int]:
    """The code from `start` to the brace that closes it, and where that ends."""
    depth, at = 1, start
    quoted: list[int] = []
    while depth:
        letter = text[at]
        if quoted and letter == "\\":
            at += 1
        elif letter == '"':
            if quoted and quoted[-1] == depth:
                quoted.pop()
            else:
                quoted.append(depth)
        elif letter == "{" and (not quoted or text[at - 1] == "$" or quoted[-1] < depth):
            depth += 1
        elif letter == "}" and (not quoted or quoted[-1] < depth):
            depth -= 1
        at += 1
    return text[start : at - 1], at


def _quoted(code: str) -> Iterator[tuple[int, int]]:
    at = 0
    while (start := code.find('"', at)) >= 0:
        at = start + 1
        while code[at] != '"':
            if code[at] == "\\":
                at += 2
            elif code.startswith("${", at):
                _, at = _code(code, at + 2)
            else:
                at += 1
        at += 1
        yield start, at


def references(value: Any) -> Iterator[tuple[str, ...]]:
    """The names in all expressions of a block: ``("var", "name")``, ``("aws_s3_bucket", "archive", "id")``."""
    for code in expressions(value):
        yield from _references(code)


def _references(code: str) -> Iterator[tuple[str, ...]]:
    for found in _ROOT.finditer(code):
        yield (found[1], *re.findall(r"\.([a-z_][a-z0-9_]*)", re.sub(r"\[[^\[\]]*\]", "", found[2])))
        for index in re.findall(r"\[([^\[\]]*)\]", found[2]):
            yield from _references(index)


def own_names(value: Any) -> set[str]:
    """Names that expressions of a block bring along: of ``for`` and of dynamic blocks."""
    names = set()
    for code in expressions(value):
        for found in re.finditer(r"\bfor\s+(\w+)(?:\s*,\s*(\w+))?\s+in\b", code):
            names |= {name for name in found.groups() if name}
    return names | set(_dynamic(value))


def _dynamic(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for block in value.get("dynamic", []) if isinstance(value.get("dynamic"), list) else []:
            yield from block
        for item in value.values():
            yield from _dynamic(item)
    elif isinstance(value, list):
        for item in value:
            yield from _dynamic(item)


def functions(value: Any) -> set[str]:
    """Functions that are called in a block."""
    return {found[1] for code in expressions(value) for found in _CALL.finditer(code)}


def rendered(name: str, **values: Any) -> dict[str, Any]:
    """A policy of the module, as `templatefile` makes it: names, and `jsonencode` of names."""
    used = set()

    def value(found: re.Match[str]) -> str:
        encoded = re.fullmatch(r"jsonencode\((\w+)\)", found[1])
        name = encoded[1] if encoded else found[1]
        used.add(name)
        return json.dumps(values[name]) if encoded else str(values[name])

    text = (MODULE / "policies" / name).read_text(encoding="utf-8")
    policy = json.loads(re.sub(r"\$\{([^}]*)\}", value, text))
    assert isinstance(policy, dict)
    assert used <= values.keys()
    return policy


def asked_of(template: str) -> set[str]:
    """What a template needs to be given."""
    text = (MODULE / "policies" / template).read_text(encoding="utf-8")
    return {name.removeprefix("jsonencode(").removesuffix(")") for name in re.findall(r"\$\{([^}]*)\}", text)}
