"""The Terraform module without Terraform: files that parse, names that exist, examples that fit, tables that are true."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terraform import glue
from tests.terraform.module import (
    EXAMPLES,
    MODULE,
    TESTS,
    Module,
    asked_of,
    expressions,
    functions,
    literal,
    own_names,
    parsed,
    references,
)

FOLDERS = (MODULE, *EXAMPLES)
FILES = sorted([*(path for folder in FOLDERS for path in folder.glob("*.tf")), *TESTS])
TEXT = (MODULE / "README.md").read_text(encoding="utf-8")

# All that Terraform 1.9 has are more; those that the module may use were looked up, one by one.
KNOWN_FUNCTIONS = {
    "alltrue", "can", "concat", "contains", "distinct", "file", "join", "jsondecode", "jsonencode", "keys", "length",
    "lookup", "one", "regex", "replace", "startswith", "templatefile", "toset", "trimsuffix", "values",
    "list", "map", "object", "optional",
}  # fmt: skip
# Attributes of resources that the module uses: each resource has them.
KNOWN_ATTRIBUTES = {"arn", "id", "key_id", "name"}


def short(path: Path) -> str:
    return str(path.relative_to(MODULE))


@pytest.mark.parametrize("path", FILES, ids=short)
def test_it_parses(path: Path) -> None:
    assert parsed(path)


@pytest.mark.parametrize("folder", FOLDERS, ids=short)
def test_all_that_is_named_exists(folder: Path) -> None:
    module = Module.read(folder)
    unknown = []
    for where, body in module.everything():
        own = own_names(body)
        for root, *parts in references(body):
            match root:
                case "var":
                    known = parts[0] in module.variables
                case "local":
                    known = parts[0] in module.locals
                case "data":
                    known = ".".join(parts[:2]) in module.data
                case "module":
                    known = parts[0] in module.calls and parts[1] in Module.read(MODULE).outputs
                case "each":
                    known = isinstance(body, dict) and "for_each" in body and parts[0] in ("key", "value")
                case "path":
                    known = parts == ["module"]
                case "aws":
                    known = parts[0] in aliases(module)
                case _:
                    known = root in own or (
                        f"{root}.{parts[0]}" in module.resources and set(parts[1:]) <= KNOWN_ATTRIBUTES
                    )
            if not known:
                unknown.append((where, ".".join([root, *parts])))
    assert not unknown
    assert not functions([body for _, body in module.everything()]) - KNOWN_FUNCTIONS


def aliases(module: Module) -> set[str]:
    """Of providers."""
    return {literal(block["aws"].get("alias")) for kind, block in module.blocks if kind == "provider"}


@pytest.mark.parametrize("folder", FOLDERS, ids=short)
def test_nothing_waits_for_itself(folder: Path) -> None:
    """What Terraform calls a cycle: found among all variables, locals, resources and outputs, through the module's call."""
    waits: dict[str, set[str]] = {}
    add_waits(waits, Module.read(folder), "")
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above, name])
        if name not in done:
            for other in sorted(waits.get(name, ())):
                visit(other, (*above, name))
            done.add(name)

    for name in sorted(waits):
        visit(name, ())
    assert len(done) > 15


def add_waits(waits: dict[str, set[str]], module: Module, within: str) -> None:
    kinds = {"var": module.variables, "local": module.locals, "output": module.outputs}
    named = {f"{kind}.{name}": body for kind, bodies in kinds.items() for name, body in bodies.items()}
    named |= module.resources | {f"data.{name}": body for name, body in module.data.items()}
    for name, body in named.items():
        if not name.startswith("var.") or not within:
            waits[within + name] = set(targets(body, within)) - {within + name}
    for name, call in module.calls.items():
        inner = f"{within}module.{name}."
        # All of a module waits for what its call depends on.
        first = set(targets(call.get("depends_on", []), within))
        called = Module.read((module.folder / literal(call["source"])).resolve())
        add_waits(waits, called, inner)
        for variable in called.variables:
            waits[f"{inner}var.{variable}"] = set(targets(call.get(variable), within))
        for resource in [*called.resources, *(f"data.{item}" for item in called.data)]:
            waits[inner + resource] |= first


def targets(body: object, within: str) -> Iterator[str]:
    for root, *parts in references(body):
        match root:
            case "var" | "local":
                yield f"{within}{root}.{parts[0]}"
            case "data":
                yield f"{within}data.{'.'.join(parts[:2])}"
            case "module":
                yield f"{within}module.{parts[0]}.output.{parts[1]}"
            case _ if root.startswith("aws_"):
                yield f"{within}{root}.{parts[0]}"


@pytest.mark.parametrize("folder", FOLDERS, ids=short)
def test_all_that_is_declared_is_used(folder: Path) -> None:
    module = Module.read(folder)
    used = {
        (root, parts[0])
        for where, body in module.everything()
        for root, *parts in references(body)
        # What a variable says of itself is no use of it.
        if where != f"variables: {parts[0]}"
    }
    assert module.variables.keys() == {name for root, name in used if root == "var"}
    assert module.locals.keys() == {name for root, name in used if root == "local"}
    assert {f"{name}" for name in module.data} == {
        ".".join(parts[:2]) for _, body in module.everything() for root, *parts in references(body) if root == "data"
    }


def test_a_counted_resource_is_never_named_without_its_index() -> None:
    module = Module.read(MODULE)
    counted = [name for name, body in module.resources.items() if "count" in body or "for_each" in body]
    assert len(counted) > 10
    for where, body in module.everything():
        for code in expressions(
            [value for key, value in body.items() if key != "depends_on"] if isinstance(body, dict) else body
        ):
            for name in counted:
                assert not re.search(rf"{re.escape(name)}\.", code), (where, code)


@pytest.mark.parametrize("folder", EXAMPLES, ids=short)
def test_an_example_passes_what_the_module_takes(folder: Path) -> None:
    example, module = Module.read(folder), Module.read(MODULE)
    (call,) = example.calls.values()
    assert literal(call["source"]) == "../.."
    given = call.keys() - {"source", "providers", "depends_on"}
    assert given <= module.variables.keys()
    assert module.required <= given
    written = json.loads((folder / "ckpt-archive.auto.tfvars.json").read_text(encoding="utf-8"))
    # What the file says has no default here, so that nobody forgets to make it.
    assert written.keys() <= example.required


@pytest.mark.parametrize("path", sorted((MODULE / "policies").glob("*.tftpl")), ids=short)
def test_every_template_is_given_what_it_needs(path: Path) -> None:
    assert asked_of(path.name)
    text = "\n".join(file.read_text(encoding="utf-8") for file in MODULE.glob("*.tf"))
    if path.name.removesuffix(".json.tftpl") in ROLES:
        module = Module.read(MODULE)
        assert asked_of(path.name) <= module.locals["policy_values"].keys()
        return
    found = re.search(rf'/{re.escape(path.name)}", {{(.*?)\n *}}\)', text, re.DOTALL)
    assert found is not None
    given = set(re.findall(r"^ +(\w+) +=", found[1], re.MULTILINE))
    assert given == asked_of(path.name)


ROLES = ("job", "maintainer", "auditor", "restorer", "lifecycle_admin", "eraser")


def test_the_roles_are_named_alike_everywhere() -> None:
    module = Module.read(MODULE)
    assert tuple(literal(name) for name in module.locals["role_names"]) == ROLES
    for name in ("trusted_principals", "trust_policies"):
        assert all(role in json.dumps(module.variables[name]["validation"]) for role in ROLES)
        assert re.sub("[^a-z_]+", " ", ", ".join(ROLES)) in re.sub(
            "[^a-z_]+", " ", str(module.variables["trusted_principals"]["description"])
        )


def test_the_tables_are_those_of_the_index() -> None:
    assert glue.FILE.read_text(encoding="utf-8") == glue.text(), "run python -m tests.terraform.glue"


def table(heading: str) -> list[list[str]]:
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_the_readme_tells_all_inputs() -> None:
    variables = Module.read(MODULE).variables
    expected = [
        [
            f"`{name}`",
            str(literal(body["description"])),
            "required" if "default" not in body else f"`{shown(body['default'])}`",
        ]
        for name, body in variables.items()
    ]
    assert table("Inputs") == expected


def shown(default: object) -> str:
    value = literal(default)
    return "null" if value in (None, "${null}", "null") else json.dumps(value)


def test_the_readme_tells_all_outputs() -> None:
    outputs = Module.read(MODULE).outputs
    assert table("Outputs") == [[f"`{name}`", str(literal(body["description"]))] for name, body in outputs.items()]


def test_the_readme_names_the_versions() -> None:
    ((_, block),) = Module.read(MODULE).blocks
    assert str(literal(block["required_version"])).removeprefix(">= ") in TEXT
    provider = block["required_providers"][0]["aws"]
    assert str(literal(provider["version"])) in TEXT


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_every_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert (MODULE / link).resolve().exists()


def test_every_skipped_check_says_why() -> None:
    skips = [
        (path.name, found[1], found[2])
        for path in MODULE.rglob("*.tf")
        for found in re.finditer(r"#checkov:skip=(\w+):?(.*)", path.read_text(encoding="utf-8"))
    ]
    assert skips
    for where, check, reason in skips:
        assert len(reason.split()) >= 4, (where, check)
        assert reason.endswith("."), (where, check)
