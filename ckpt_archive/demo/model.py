"""A small network on scikit-learn's handwritten digits, trained step by step with nothing but numpy.

A step is a pure function of the state before it, the generator's state included: whoever goes on from a checkpoint takes
exactly the steps that were to be taken, and the losses are the same to the last bit.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Array = NDArray[np.floating[Any]]

BATCH = 64
LEARNING_RATE = 1e-3
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # Adam as published (Kingma and Ba, 2015)


@dataclass(frozen=True, slots=True)
class Digits:
    """1,797 pictures of 8 by 8 pixels, from 0 to 1, and which digit each shows."""

    images: Array
    labels: NDArray[np.int64]

    @classmethod
    def load(cls) -> "Digits":
        """From the installed package: no network."""
        images, labels = load_digits(return_X_y=True)
        return cls((images / 16).astype(np.float32), labels.astype(np.int64))


@dataclass(slots=True)
class State:
    """Everything that a step depends on.

    Attributes:
        step: How many steps were taken.
        weights: By name.
        first: Adam's first moments.
        second: Adam's second moments.
        generator: Chooses the batches.
    """

    step: int
    weights: dict[str, Array]
    first: dict[str, Array]
    second: dict[str, Array]
    generator: np.random.Generator

    @classmethod
    def fresh(cls, width: int, seed: int) -> "State":
        """Before the first step; three layers with `width` neurons in between."""
        generator = np.random.default_rng(seed)
        weights: dict[str, Array] = {}
        sizes = (64, width, width, 10)
        for layer in range(3):
            scale = np.sqrt(2 / sizes[layer])
            shape = (sizes[layer], sizes[layer + 1])
            weights[f"w{layer}"] = (scale * generator.standard_normal(shape)).astype(np.float32)
            weights[f"b{layer}"] = np.zeros(sizes[layer + 1], np.float32)
        zeros = {name: np.zeros_like(value) for name, value in weights.items()}
        return cls(0, weights, zeros, {name: value.copy() for name, value in zeros.items()}, generator)

    def save(self, folder: str) -> None:
        """Write it as three files; the same state gives the same bytes."""
        weights: dict[str, Any] = dict(self.weights)
        np.savez(os.path.join(folder, "weights.npz"), **weights)
        moments: dict[str, Any] = {f"first.{name}": value for name, value in self.first.items()}
        moments |= {f"second.{name}": value for name, value in self.second.items()}
        np.savez(os.path.join(folder, "optimizer.npz"), **moments)
        with open(os.path.join(folder, "trainer.json"), "w", encoding="utf-8") as file:
            json.dump({"step": self.step, "generator": self.generator.bit_generator.state}, file, sort_keys=True)

    @classmethod
    def load(cls, folder: str) -> "State":
        """Read what `save` wrote."""
        with open(os.path.join(folder, "trainer.json"), encoding="utf-8") as file:
            trainer: dict[str, Any] = json.load(file)
        generator = np.random.default_rng()
        generator.bit_generator.state = trainer["generator"]
        moments = _arrays(os.path.join(folder, "optimizer.npz"))
        return cls(
            trainer["step"],
            _arrays(os.path.join(folder, "weights.npz")),
            {name.removeprefix("first."): value for name, value in moments.items() if name.startswith("first.")},
            {name.removeprefix("second."): value for name, value in moments.items() if name.startswith("second.")},
            generator,
        )

    def take_step(self, digits: Digits) -> float:
        """One step of Adam on one batch; its loss."""
        batch = self.generator.integers(len(digits.labels), size=BATCH)
        loss, gradients = loss_and_gradients(self.weights, digits.images[batch], digits.labels[batch])
        self.step += 1
        rate = LEARNING_RATE * np.sqrt(1 - BETA_2**self.step) / (1 - BETA_1**self.step)
        for name, gradient in gradients.items():
            self.first[name] += (1 - BETA_1) * (gradient - self.first[name])
            self.second[name] += (1 - BETA_2) * (gradient * gradient - self.second[name])
            self.weights[name] -= np.float32(rate) * self.first[name] / (np.sqrt(self.second[name]) + EPSILON)
        return loss


def loss_and_gradients(
    weights: Mapping[str, Array], images: Array, labels: NDArray[np.int64]
) -> tuple[float, dict[str, Array]]:
    """Mean cross-entropy of a batch, and its gradient by every weight."""
    inputs = [images]
    for layer in range(2):
        inputs.append(np.maximum(inputs[-1] @ weights[f"w{layer}"] + weights[f"b{layer}"], 0))
    scores = inputs[-1] @ weights["w2"] + weights["b2"]
    scores -= scores.max(axis=1, keepdims=True)
    chances = np.exp(scores)
    chances /= chances.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(-np.log(chances[rows, labels] + 1e-12).mean())
    slope = chances
    slope[rows, labels] -= 1
    slope /= len(labels)
    gradients: dict[str, Array] = {}
    for layer in (2, 1, 0):
        gradients[f"w{layer}"] = inputs[layer].T @ slope
        gradients[f"b{layer}"] = slope.sum(axis=0)
        slope = (slope @ weights[f"w{layer}"].T) * (inputs[layer] > 0)
    return loss, gradients


def _arrays(path: str) -> dict[str, Array]:
    # allow_pickle is off by default: nothing that is restored is ever executed.
    with np.load(path) as arrays:
        return dict(arrays)
