"""Who this process is in its launch: what it was told, and what follows for its rank and the launch's key. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass

from ckpt_archive.errors import InvalidInputError
from ckpt_archive.local.capacity import RESERVED_BYTES
from ckpt_archive.local.order import least_kept
from ckpt_archive.names import check_rank, check_run_name, check_writers
from ckpt_archive.promotion import Every
from ckpt_archive.settings import LAUNCH_KEY, Environment
from ckpt_archive.strictjson import Json


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What `Archive.run` was told; see there.

    Raises:
        InvalidInputError: If a value is not allowed.
    """

    name: str
    staging: str
    keep_local: int
    promote: Every
    labels: Mapping[str, Json]
    sources: tuple[Mapping[str, Json], ...]
    rank: int | None
    writers: int
    launch_key: str | None
    quota_bytes: int | None
    on_error: str
    agent: str
    network_staging: bool

    def __post_init__(self) -> None:
        check_run_name(self.name)
        check_writers(self.writers)
        numbers = {"keep_local": self.keep_local}
        if self.quota_bytes is not None:
            numbers["quota_bytes"] = self.quota_bytes
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInputError(f"{name} = {value!r} is not allowed", hint="Use an integer from 1 on.")
        for name, chosen, allowed in (
            ("on_error", self.on_error, ("log", "raise")),
            ("agent", self.agent, ("auto", "external")),
        ):
            if chosen not in allowed:
                raise InvalidInputError(f"{name} = {chosen!r} is not allowed", hint=f"Use {' or '.join(allowed)}.")
        if self.quota_bytes is not None and self.quota_bytes <= RESERVED_BYTES:
            raise InvalidInputError(
                f"quota_bytes = {self.quota_bytes} leaves no room for a checkpoint",
                hint=f"{RESERVED_BYTES} bytes of it are kept for records: add the size of two checkpoints or more.",
            )
        if self.writers > 1 and self.keep_local < least_kept(self.writers):
            raise InvalidInputError(
                f"keep_local = 1 is not allowed with {self.writers} writers",
                hint="Use 2 or more: where one node dies before its newest save, all need the one before.",
            )
        self.promote.check_writers(self.writers)

    def every(self) -> dict[str, Json]:
        """The promotion rule, as it stands in the launch's record."""
        rule: dict[str, Json] = {"rule": "every", "count": self.promote.count}
        if self.promote.save_every_steps is not None:
            rule["save_every_steps"] = self.promote.save_every_steps
        return rule


def rank_of(settings: RunSettings, environment: Environment, given: int | None = None) -> int:
    """Which writer this process is: as it is told here, as the run was told, or as the launcher says.

    Raises:
        InvalidInputError: If nobody says, or it is none of the run's writers.
    """
    told = given if given is not None else settings.rank
    rank = told if told is not None else environment.rank
    if settings.writers == 1:
        if told is None and environment.rank not in (None, 0):
            raise InvalidInputError(
                f"this is rank {environment.rank} of {environment.world_size or 'several'}, and nothing says what it "
                "contributes",
                hint=f"Save on rank 0 alone, or write archive.run({settings.name!r}, rank={environment.rank}, "
                f"writers={environment.world_size or '…'}, …).",
            )
        rank = told or 0
    if rank is None:
        raise InvalidInputError(
            f"nothing says which of {settings.writers} writers this process is",
            hint=f"Write archive.run({settings.name!r}, rank=…, writers={settings.writers}, …).",
        )
    if check_rank(rank) >= settings.writers:
        raise InvalidInputError(
            f"rank {rank} of {settings.writers} writers is not possible", hint="Ranks count from 0."
        )
    return rank


def given_key(settings: RunSettings, environment: Environment) -> str | None:
    """The launch key that somebody chose, and promised to give to this launch alone."""
    return settings.launch_key or environment.launch_key


def key_of(environment: Environment, nonce: str) -> str:
    """The key of a launch whose processes all know `nonce`; the scheduler's name of it is for people."""
    return f"{environment.scheduler_key}/{nonce}" if environment.scheduler_key else nonce


def common_key(settings: RunSettings, environment: Environment) -> str:
    """The key of a launch whose writers have agreed on nothing: what their launcher tells all of them.

    Raises:
        InvalidInputError: If it tells them nothing in common.
    """
    if environment.scheduler_key:
        return environment.scheduler_key
    raise InvalidInputError(
        f"{settings.writers} writers have no launch key in common",
        hint=f"Call resume(agree=…), set {LAUNCH_KEY} to the same new text for all processes of this launch, or give "
        "launch_key=.",
    )
