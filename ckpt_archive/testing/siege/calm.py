"""The judgement on a site that is left in peace: what was acknowledged is there, byte for byte, and nothing else."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ckpt_archive.testing.siege import actors
from ckpt_archive.testing.siege.actors import PUSHED, RUN
from ckpt_archive.testing.siege.figures import Figures
from ckpt_archive.testing.siege.journal import RESUMED, WRONG, Known, Save, wrong_resumes
from ckpt_archive.testing.siege.site import Site


def judge(site: Site) -> None:
    """Drain, verify, restore everything, resume here and on another node, look for what lies around."""
    site.calm()
    before = len(site.journal.lines())
    part = str(actors.PART_SIZE_BYTES)
    drained = site.run(
        "drain",
        actors.command(
            "drain", "--staging", str(site.staging), "--timeout", "120s", "--part-size", part, "--json"
        ),
    )  # fmt: skip
    _expect(site, drained.code == 0, f"drain ended with {drained.code}: {drained.lines}")
    found = _look(site)
    lines = site.journal.lines()
    compare(site.seed, Known.of(lines), found, site.jobs.committed, site.figures)
    site.figures.wrong += [f"{site.seed}: {line['why']}" for line in lines if line["event"] == WRONG]

    # Once more on this node, and once on another one, which has the archive alone.
    last = site.run("trainer", _resume_only(site, site.staging))
    elsewhere = site.run("trainer", _resume_only(site, site.folder / "other-ssd"))
    lines = site.journal.lines()
    resumed = [line for line in lines[before:] if line["event"] == RESUMED]
    _expect(site, len(resumed) == 2, f"resumes in the calm end with {last.code} and {elsewhere.code}")
    site.figures.wrong += [f"{site.seed}: {text}" for text in wrong_resumes(lines[: len(lines) - 2])]
    if len(resumed) == 2:
        got: Save | None = None if resumed[1]["step"] is None else (resumed[1]["from"], resumed[1]["step"])
        wanted = Known.of(lines[:before]).newest(saves_of(found))
        if got != wanted:
            site.figures.wrong.append(f"{site.seed}: another node goes on from {got}, not from {wanted}")
    site.figures.counts["resumed"] += sum(line["event"] == RESUMED and line["step"] is not None for line in lines)
    site.close()
    if site.figures.is_good:
        shutil.rmtree(site.folder)


def compare(seed: str, known: Known, found: Mapping[str, Any], committed: Iterable[int], figures: Figures) -> None:
    """Hold what is archived against what was said.

    Args:
        seed: Of the site.
        known: What its trainers have said.
        found: What the judge has restored and read.
        committed: Steps of which a push has said that they are archived.
        figures: Told what is lost or wrong.
    """
    archived = saves_of(found)
    promoted = {save for save in known.acknowledged if save[1] % actors.PROMOTE_EVERY == 0}
    launches = {attempt: launch for run, attempt, _, launch in found["archived"] if run == RUN}
    gaps = {(launches.get(attempt), step) for attempt, step in found["gaps"]}
    pushed = {step for run, _, step, _ in found["archived"] if run == PUSHED}
    figures.counts["acknowledged"] += len(known.acknowledged)
    figures.counts["promoted"] += len(promoted)
    figures.counts["archived"] += len(archived)
    figures.counts["pushed"] += len(pushed)
    figures.counts["gaps"] += len(found["gaps"])
    figures.counts["restored"] += len({tuple(item[:3]) for item in found["archived"]})
    figures.lost += [f"{seed}: {save} was acknowledged and is nowhere" for save in sorted(promoted - archived - gaps)]
    figures.lost += [f"{seed}: pushed step {step} is nowhere" for step in committed if step not in pushed]
    ever = set(known.acknowledged) | known.open
    figures.wrong += [f"{seed}: {save} is archived, and nobody began it" for save in sorted(archived - ever)]
    stray = sorted(save for save in archived if save[1] % actors.PROMOTE_EVERY)
    figures.findings += [f"{seed}: {save} is archived, and was not promoted" for save in stray]


def saves_of(found: Mapping[str, Any]) -> set[Save]:
    """The archived checkpoints of the trainers."""
    return {(launch, step) for run, _, step, launch in found["archived"] if run == RUN}


def _look(site: Site) -> dict[str, Any]:
    verified = site.run("verify", actors.command("verify", "--deep", "--json"))
    findings = actors.one_document(verified.lines)
    _expect(site, verified.code == 0 and not findings, f"verify --deep ended with {verified.code}: {findings}")
    looked = site.run("judge", actors.Judging(str(site.folder / "judged")))
    if looked.code != 0 or not looked.lines:
        _expect(site, False, f"the judge ended with {looked.code}")
        return {"archived": [], "gaps": []}
    found: dict[str, Any] = json.loads(looked.lines[-1])
    site.figures.wrong += [f"{site.seed}: {text}" for text in found["wrong"]]
    site.figures.lost += [f"{site.seed}: {text}" for text in found["refused"]]
    for kind in ("orphans", "uploads", "probes"):
        _expect(site, not found[kind], f"{kind} are left: {found[kind]}")
    unwell = [item for item in found["doctor"] if item["severity"] != "note" or item["what"] != "gaps"]
    _expect(site, not unwell, f"doctor: {unwell}")
    return found


def _resume_only(site: Site, staging: Path) -> actors.Training:
    return site.training(saves=0, staging=staging)


def _expect(site: Site, is_so: bool, otherwise: str) -> None:
    if not is_so:
        site.figures.findings.append(f"{site.seed}: {otherwise}")
