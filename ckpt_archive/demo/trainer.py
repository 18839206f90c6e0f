"""A training script as anybody would write it: resume, train, save. It runs as a process of its own and may be killed.

`python -m ckpt_archive.demo.trainer --staging DIR` with ``CKPT_ARCHIVE_URL`` set. It prints one line of JSON when it begins
and one per checkpoint.
"""

import json
import math

import click

from ckpt_archive import Archive, Every
from ckpt_archive.demo.model import Digits, State


@click.command
@click.option("--staging", required=True, help="A folder on the local SSD.")
@click.option("--run", "name", default="digits", help="Run name.")
@click.option("--steps", default=100, help="Where to stop.")
@click.option("--save-every", default=5, help="Steps between checkpoints.")
@click.option("--promote-every", default=2, help="Every how manyth checkpoint goes to the archive.")
@click.option("--width", default=1280, help="Neurons in a layer: how large the checkpoints are.")
@click.option("--agent", default="auto", help="Whether to start the uploader: auto or external.")
def main(staging: str, name: str, steps: int, save_every: int, promote_every: int, width: int, agent: str) -> None:
    """Train a small network on handwritten digits."""
    archive = Archive.open()
    run = archive.run(
        name,
        staging=staging,
        promote=Every(promote_every, save_every_steps=save_every),
        labels={"project": "demo"},
        sources=["pip:scikit-learn#load_digits"],
        agent=agent,
    )
    digits = Digits.load()
    restored = run.resume()
    if restored is None:
        state = State.fresh(width, seed=0)
        _say(event="began", step=0)
    else:
        state = State.load(str(restored.path))
        _say(event="resumed", step=restored.step, source=restored.source, verified=restored.verified)
    loss = math.nan
    while state.step < steps:
        loss = state.take_step(digits)
        if state.step % save_every == 0:
            with run.checkpoint(step=state.step, metrics={"loss": loss}) as checkpoint:
                state.save(str(checkpoint.path))
            _say(event="saved", step=state.step, loss=loss, staged=checkpoint.staged)
    run.finish()
    _say(event="finished", step=state.step)


def _say(**members: object) -> None:
    click.echo(json.dumps(members))


if __name__ == "__main__":
    main()
