"""A made-up archive, as arithmetic: runs, launches and checkpoints of 36 months, from a seed.

Nothing is kept per checkpoint: its launch and its ordinal give step, time and digests, so that any month can be made by
itself, in any order and in bounded memory, and a digest is the same in every table that names it.
"""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

BEGAN = datetime(2023, 12, 1, tzinfo=UTC)
ENDED = datetime(2026, 11, 24, tzinfo=UTC)
MICROS = 1_000_000
DAY = 86_400 * MICROS
START = int(BEGAN.timestamp()) * MICROS
END = int(ENDED.timestamp()) * MICROS
KEYS = 1 << 12  # numbers of files per checkpoint, for digests
DEEPEST = 60

_HEX = np.array([ord(a) | ord(b) << 8 for a in "0123456789abcdef" for b in "0123456789abcdef"], dtype="<u2")
_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mix(numbers: np.ndarray) -> np.ndarray:
    """Splitmix64: uniform 64-bit numbers, the same for the same input."""
    z = numbers.astype(np.uint64)
    z *= _GAMMA
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def unit(domain: int, numbers: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1), the same for the same input."""
    return (mix(numbers.astype(np.uint64) + np.uint64(domain << 56)) >> np.uint64(11)) * (1.0 / (1 << 53))


def digests(domain: int, numbers: np.ndarray, words: int = 4) -> np.ndarray:
    """Hex digests as an array of bytes, 16 characters a word."""
    made = np.empty((len(numbers), words), dtype="<u8")
    base = mix(numbers.astype(np.uint64) + np.uint64(domain << 56))
    for word in range(words):
        made[:, word] = mix(base + np.uint64(word + 1))
    return _HEX[made.view(np.uint8)].view(np.uint8).reshape(len(numbers), words * 16)


def digest(domain: int, number: int, words: int = 4) -> str:
    """One of them as text."""
    return digests(domain, np.array([number]), words).tobytes().decode()


@dataclass(frozen=True)
class Shape:
    """What the files of a checkpoint look like: an entry per file, by rank and path."""

    ranks: int
    rank: np.ndarray
    path: np.ndarray
    kind: np.ndarray  # 0 large, 1 small and always new, 2 small and always the same
    offset: np.ndarray
    packed: np.ndarray  # whether it shares an object


class Paths(dict[str, int]):
    """Numbers of paths."""

    def __missing__(self, path: str) -> int:
        self[path] = len(self)
        return self[path]


def shapes(paths: Paths, files_per: int) -> list[tuple[float, Shape]]:
    """Shapes with their share of the runs; the mean number of files is about `files_per`."""
    single = [
        ("config.json", 2),
        ("model-00001-of-00002.safetensors", 0),
        ("model-00002-of-00002.safetensors", 0),
        ("optimizer.bin", 0),
        ("rng_state.pth", 1),
        ("scheduler.pt", 1),
        ("tokenizer.json", 2),
        ("trainer_state.json", 1),
        *((f"extra/state-{number:02}.bin", 1) for number in range(60)),
    ]
    least = max(1, round(files_per * 0.68) - 2)
    many = [
        (0.15, _shape(paths, 8, ["rank-{:04}/model.safetensors", "rank-{:04}/optimizer.bin"])),
        (0.02, _shape(paths, 64, ["rank-{:04}/model.safetensors"])),
        (0.001, _shape(paths, 1000, ["__{}_0.distcp"])),
    ]
    rest = (1 - sum(share for share, _ in many)) / 5
    return [
        (rest, _of(paths, 1, [(0, *entry) for entry in sorted(single[: least + more])])) for more in range(5)
    ] + many


def _shape(paths: Paths, ranks: int, templates: list[str]) -> Shape:
    return _of(paths, ranks, [(rank, template.format(rank), 0) for rank in range(ranks) for template in templates])


def _of(paths: Paths, ranks: int, entries: list[tuple[int, str, int]]) -> Shape:
    kind = np.array([entry[2] for entry in entries])
    small = kind > 0
    packed = small & (small.sum() > 1)
    offset = np.where(packed, np.cumsum(np.where(packed, 4096 + 37 * np.arange(len(kind)), 0)), 0)
    offset = np.where(packed, offset - offset[packed].min() if packed.any() else 0, 0)
    rank = np.array([entry[0] for entry in entries])
    return Shape(ranks, rank, np.array([paths[entry[1]] for entry in entries]), kind, offset, packed)


def _uuid(text: str) -> str:
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class World:
    """Runs and launches as columns.

    Arrays named `run_…` have an entry per run, in the order of names; those named `of_…` one per launch, by run and attempt.
    """

    def __init__(self, checkpoints: int, files_per: int, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        random = self.random
        runs = max(DEEPEST + 10, min(5000, checkpoints // 20))
        starts = np.sort(random.uniform(START, END - 3 * DAY, runs))
        self.run_project = np.minimum(random.zipf(1.4, runs) - 1, 39)
        names = [
            f"p{self.run_project[i]:02}-{datetime.fromtimestamp(starts[i] / MICROS, UTC):%Y%m%d}-{digest(1, i, 1)[:6]}"
            if i % 2
            else _uuid(digest(1, i, 2))
            for i in range(runs)
        ]
        order = np.argsort(np.array(names))
        back = np.argsort(order)  # position by name of the run that began i-th
        self.run_name = [names[i] for i in order]
        self.run_start = starts[order]
        self.run_project = self.run_project[order]
        self.paths = Paths()
        chances, self.shape = zip(*shapes(self.paths, files_per), strict=True)
        self.run_shape = random.choice(len(chances), runs, p=np.array(chances) / sum(chances))
        self.run_shape[self.run_shape == len(chances) - 1] = 0
        thousand = back[np.linspace(3, runs - 3, max(1, round(runs * chances[-1]))).astype(int)]
        self.run_shape[thousand] = len(chances) - 1
        weight = random.lognormal(0, 1.2, runs)
        weight[thousand] = weight.mean()
        self.run_size = np.maximum(2, np.round(weight * (checkpoints / weight.sum()))).astype(int)
        days = np.clip(random.lognormal(np.log(25), 1, runs), 1, 200) * DAY
        self.run_days = np.minimum(days, END - DAY - self.run_start)
        self.run_every = random.choice([100, 500, 1000, 5000], runs)
        self.run_bytes = random.lognormal(np.log(2e9), 1.5, runs).astype(int)
        self.run_parent = np.full(runs, -1)
        chain = np.linspace(0, runs - 1, DEEPEST).astype(int)
        for child in range(1, runs):
            if random.random() < 0.3:
                self.run_parent[back[child]] = back[random.integers(0, child)]
        for parent, child in itertools.pairwise(chain):
            self.run_parent[back[child]] = back[parent]
        self._launch(back)
        self.path_names = list(self.paths)

    def _launch(self, back: np.ndarray) -> None:
        """Cut every run into launches, in the order in which runs began, so that what one is forked from is there."""
        random = self.random
        launches: dict[int, list[tuple[float, ...]]] = {}
        for run in back:
            size, every = int(self.run_size[run]), int(self.run_every[run])
            count = min(size, int(random.geometric(0.25)))
            cuts = (
                np.sort(random.choice(np.arange(1, size), count - 1, replace=False)) if count > 1 else np.array([], int)
            )
            sizes = np.diff(np.concatenate(([0], cuts, [size])))
            cadence = self.run_days[run] / (size + 1)
            start, step, line = float(self.run_start[run]), 0, 0
            resume = (-1, -1, -1)
            if self.run_parent[run] >= 0:
                parent = int(self.run_parent[run])
                known = [i for i, one in enumerate(launches[parent]) if one[3] <= start] or [0]
                one = launches[parent][known[-1]]
                at = int(np.clip((start - one[3]) / one[4] - 2, 0, one[2] - 1))
                step = int(one[1] + at * self.run_every[parent])
                resume = (parent, known[-1], step)
            made: list[tuple[float, ...]] = []
            for attempt, number in enumerate(int(n) for n in sizes):
                explicit = 0
                if attempt:
                    before = made[-1]
                    back_by = 0
                    if random.random() < 0.1 and before[2] > 2:
                        explicit, back_by, line = 1, int(random.integers(1, before[2])), attempt
                    step = int(before[1] + (before[2] - 1 - back_by) * every)
                    resume = (int(run), attempt - 1, step)
                made.append((attempt, step + every, number, start, cadence, *resume, explicit, line))
                start += number * cadence + cadence * 0.2
                step += every * number
            # Pauses between launches must not lead past the end.
            late = (start - float(self.run_start[run])) / max(1.0, min(self.run_days[run], start))
            if late > 1:
                made = [
                    (
                        *one[:3],
                        float(self.run_start[run]) + (one[3] - float(self.run_start[run])) / late,
                        one[4] / late,
                        *one[5:],
                    )
                    for one in made
                ]
            launches[int(run)] = made
        counts = [len(launches[run]) for run in range(len(back))]
        table = np.array([one for run in range(len(back)) for one in launches[run]])
        self.of_run = np.repeat(np.arange(len(back)), counts)
        self.of_attempt, self.of_first, self.of_size = (table[:, i].astype(int) for i in range(3))
        self.of_start, self.of_cadence = table[:, 3], table[:, 4]
        self.of_parent, self.of_parent_attempt, self.of_parent_step = (table[:, i].astype(int) for i in range(5, 8))
        self.of_explicit, self.of_line = table[:, 8].astype(bool), table[:, 9].astype(int)
        self.of_base = np.concatenate(([0], np.cumsum(self.of_size)[:-1]))
        self.checkpoints = int(self.of_size.sum())

    def span(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """For every launch the first ordinal in [low, high), and how many."""
        first = np.clip(np.ceil((low - self.of_start) / self.of_cadence - 1), 0, self.of_size).astype(int)
        past = np.clip(np.ceil((high - self.of_start) / self.of_cadence - 1), 0, self.of_size).astype(int)
        return first, past - first

    def committed(self, launch: np.ndarray, ordinal: np.ndarray, high: int) -> np.ndarray:
        """Times of commit in microseconds, below `high`."""
        shake = unit(2, self.of_base[launch] + ordinal) * 0.3
        return np.minimum(self.of_start[launch] + (ordinal + 1 + shake) * self.of_cadence[launch], high - 1).astype(
            np.int64
        )

    def step(self, launch: np.ndarray, ordinal: np.ndarray) -> np.ndarray:
        """Steps."""
        return self.of_first[launch] + ordinal * self.run_every[self.of_run[launch]]


def spread(first: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`count` numbers from `first` on for every entry: which entry, which number."""
    entry = np.repeat(np.arange(len(count)), count)
    begin = np.cumsum(count) - count
    return entry, np.arange(len(entry)) - begin[entry] + first[entry]


def months() -> list[tuple[str, int, int]]:
    """Name, begin and end of every month, in microseconds."""
    found, at = [], BEGAN
    while at < ENDED:
        following = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)
        found.append((f"{at:%Y-%m}", int(at.timestamp()) * MICROS, min(int(following.timestamp()) * MICROS, END)))
        at = following
    return found
