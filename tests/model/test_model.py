"""The real code against the reference model, and whether that would find a mistake. Longer: `HYPOTHESIS_PROFILE=soak`."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from ckpt_archive.commit.latest import Standing
from ckpt_archive.devserver import DevServer
from ckpt_archive.local.ring import evict
from ckpt_archive.restore.choice import choose
from tests.model.machine import Machine
from tests.model.premises import FilePremises, ServerPremises

_SOAK = settings().max_examples >= 5_000
_COMMON = settings(deadline=None, derandomize=not _SOAK, database=None, suppress_health_check=list(HealthCheck))
LONG = settings(_COMMON, max_examples=2_000 if _SOAK else 100, stateful_step_count=40)
SHORT = settings(LONG, max_examples=400 if _SOAK else 50)
SERVED = settings(LONG, max_examples=20 if _SOAK else 2)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class FileMachine(Machine):
    premises = FilePremises


class ServerMachine(Machine):
    premises = ServerPremises


@pytest.mark.timeout(0)
def test_in_memory() -> None:
    before = Machine.failed
    run_state_machine_as_test(Machine, settings=LONG)
    assert Machine.failed > before, "a rule that never bites proves nothing"


@pytest.mark.timeout(0)
def test_in_a_folder() -> None:
    run_state_machine_as_test(FileMachine, settings=SHORT)


@pytest.mark.timeout(0)
def test_on_a_real_server(tmp_path: Path) -> None:
    with DevServer(str(tmp_path)) as server:
        ServerPremises.server = server
        run_state_machine_as_test(ServerMachine, settings=SERVED)


def _unbranched(points: Any, standing: Standing) -> Any:
    newest = standing.newest
    return choose(points, replace(standing, newest=newest and replace(newest, branch=0)))


MISTAKES = {
    "one more stays in the ring": ("ckpt_archive.agent.relief.evict", lambda run, keep: evict(run, keep + 1)),
    "one less stays in the ring": ("ckpt_archive.agent.relief.evict", lambda run, keep: evict(run, max(1, keep - 1))),
    "other content is pushed": ("ckpt_archive.ship.push.require_same", lambda stored, ours: None),
    "the ring forgets branches": ("ckpt_archive.restore.resuming.choose", _unbranched),
    "promotions are off by one": ("ckpt_archive.promotion.Every.promotes", lambda self, step, saves: step % 2 == 1),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*MISTAKES[mistake])
    # Each release of hypothesis draws other examples: this one needs some 500 for the rarest.
    search = settings(_COMMON, derandomize=True, max_examples=2000, stateful_step_count=40, phases=[Phase.generate])
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(Machine, settings=search)


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.teardown()


def test_is_a_step_that_two_attempts_have_that_of_the_newest(machine: Machine) -> None:
    for node, data in (("a", b"old"), ("b", b"new")):
        trainer = machine.start_solo(node, 3, (1, None))
        machine.save_solo(trainer, 1, {"model.bin": data}, {})
        machine.agent_works(node)
        machine.end_solo(trainer)
    machine.restore_solo(machine.start_solo("a", 3, (1, None)), 1)


def test_does_a_node_alone_answer_with_the_newest_launch_that_saved(machine: Machine) -> None:
    first, second, third, fourth = (machine.start_solo("a", 3, (3, 1)) for _ in range(4))
    machine.save_solo(first, 1, {"model.bin": b"1"}, {})
    machine.resume_solo(second)
    machine.resume_solo(third)
    machine.save_solo(second, 1, {"model.bin": b"2"}, {})
    machine.store_goes_or_comes()
    machine.resume_solo(fourth)


def test_is_a_step_of_a_late_launch_found_in_the_ring(machine: Machine) -> None:
    machine.store_goes_or_comes()
    late = machine.start_solo("a", 3, (3, 1))
    machine.save_solo(late, 1, {"model.bin": b"1"}, {})
    machine.end_solo(late)
    machine.store_goes_or_comes()
    machine.save_solo(machine.start_solo("b", 3, (1, 1)), 2, {"model.bin": b"2"}, {})
    machine.agent_works("b")
    machine.agent_works("a")
    machine.restore_solo(machine.start_solo("a", 3, (3, 1)), 1)
