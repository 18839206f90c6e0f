"""How much happens in a life, and what is known of those who take part in it. Values only."""

from dataclasses import dataclass, field

from ckpt_archive.testing.simulation.process import Process


@dataclass(slots=True)
class Begun:
    """A multipart upload: who began it, and whether its beginning reached the store after everybody had given it up."""

    by: Process | None
    late: bool


@dataclass(slots=True)
class Launch:
    """One launch of a job, in one or several processes.

    Attributes:
        number: Counted in the job.
        key: Its launch key; no other launch has it.
        began_us: When.
        processes: Of its ranks.
        recorded_us: When it got its number.
    """

    number: int
    key: str
    began_us: int
    processes: list[Process] = field(default_factory=list)
    recorded_us: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """How much may happen in a life.

    Attributes:
        nodes: How many nodes; one of them is drawn, and so on.
        jobs: How many jobs.
        launches: The most launches of a job.
        saves: The most saves of a launch.
        writers: How many ranks a team has.
        restarts: How often an agent that has died is started again.
        troubles: How much more often something goes wrong than in a long one.
    """

    nodes: tuple[int, ...] = (1, 2, 3, 4)
    jobs: tuple[int, ...] = (1, 1, 2)
    launches: tuple[int, ...] = (2, 3, 4)
    saves: tuple[int, ...] = (1, 2, 3, 4)
    writers: tuple[int, ...] = (2, 2, 3, 3, 4, 6, 8)
    restarts: int = 5
    troubles: float = 1.0
