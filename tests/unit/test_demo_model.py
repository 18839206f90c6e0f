"""The demo's network: whoever goes on from a checkpoint takes exactly the steps that were to be taken."""

from pathlib import Path

import numpy as np
import pytest

from ckpt_archive.demo.model import Digits, State, loss_and_gradients

WIDTH = 32


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits.load()


def test_it_learns(digits: Digits) -> None:
    state = State.fresh(WIDTH, seed=0)
    losses = [state.take_step(digits) for _ in range(300)]
    assert np.mean(losses[-20:]) < 0.5 < np.mean(losses[:20])


def test_going_on_from_a_checkpoint_is_going_on(digits: Digits, tmp_path: Path) -> None:
    state = State.fresh(WIDTH, seed=0)
    for _ in range(7):
        state.take_step(digits)
    state.save(str(tmp_path))
    restored = State.load(str(tmp_path))
    assert restored.step == 7
    assert [restored.take_step(digits) for _ in range(9)] == [state.take_step(digits) for _ in range(9)]


def test_the_same_state_gives_the_same_bytes(digits: Digits, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        state = State.fresh(WIDTH, seed=0)
        state.take_step(digits)
        state.save(str(tmp_path / name))
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_gradients_are_those_of_the_loss(digits: Digits) -> None:
    state = State.fresh(WIDTH, seed=1)
    weights = {name: value.astype(np.float64) for name, value in state.weights.items()}
    images, labels = digits.images[:16].astype(np.float64), digits.labels[:16]
    _, gradients = loss_and_gradients(weights, images, labels)
    for name, index in (("w0", (20, 3)), ("w1", (5, 7)), ("w2", (4, 2)), ("b0", (3,)), ("b2", (1,))):
        steps = []
        for sign in (1, -1):
            moved = {key: value.copy() for key, value in weights.items()}
            moved[name][index] += sign * 1e-5
            steps.append(loss_and_gradients(moved, images, labels)[0])
        assert gradients[name][index] == pytest.approx((steps[0] - steps[1]) / 2e-5, rel=1e-4, abs=1e-8)
