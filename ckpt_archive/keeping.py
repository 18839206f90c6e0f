"""How long an archive's checkpoints are kept, as its users say it: `archive.retention`. Delegates; decides nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ckpt_archive.place import Place

if TYPE_CHECKING:
    from ckpt_archive.commit.connection import Connection
    from ckpt_archive.machine import Machine
    from ckpt_archive.retention.by_hand.assigning import Assigned
    from ckpt_archive.retention.by_hand.dropping import Dropped
    from ckpt_archive.retention.by_hand.holding import Report
    from ckpt_archive.retention.by_hand.undropping import Undropped
    from ckpt_archive.retention.passes.apply import Outcome
    from ckpt_archive.retention.plans.drift import DriftReport
    from ckpt_archive.retention.plans.planning import Plan
    from ckpt_archive.retention.policy.values import Policy

# As in `archive`: what brings in the AWS SDK is imported where it is first needed.


class Retention:
    """Classes, holds and ends of an archive's checkpoints. Use `Archive.retention`.

    Args:
        machine: The machine this runs on.
        connect: Gives the connection to the archive.
        find: Finds a checkpoint by run, step and attempt.
        actor: Who does things to the archive; "" if nobody says.
    """

    def __init__(
        self,
        machine: "Machine",
        connect: "Callable[[], Connection]",
        find: Callable[[str, int, int | None], Place],
        actor: str,
    ) -> None:
        self._machine = machine
        self._connect = connect
        self._find = find
        self._actor = actor

    def in_force(self) -> "Policy | None":
        """The policy that maintenance carries out; None before one was ever applied."""
        from ckpt_archive.retention.policy.in_force import policy_in_force

        connection = self._connect()
        return policy_in_force(connection.store, connection.archive_id)

    def plan(self, policy: "Policy", *, show: int | None = None) -> "Plan":
        """What a policy would change, and why.

        Args:
            policy: See `retention.policy_file.load` and `preset`.
            show: How many changes are kept in it; None: all.

        Raises:
            InvalidInputError: If the bucket would have too many rules.
            UnavailableError: If the store does not answer.
        """
        from ckpt_archive.retention.plans.planning import make_plan

        return make_plan(self._machine, self._connect(), policy, show=show)

    def apply(self, plan: "Plan") -> "Outcome":
        """Do exactly what a plan says.

        Raises:
            ConflictError: If something else would be to be done by now.
            IntegrityError: If the server made something else of the rules: the old ones were put back.
            UnavailableError: If the store does not answer: apply again.
        """
        from ckpt_archive.retention.passes.apply import apply, plan_again
        from ckpt_archive.retention.passes.voice import Voice

        connection = self._connect()
        again = plan_again(self._machine, connection, plan.policy, plan.id)
        return apply(Voice(self._machine, connection, self._actor, plan.policy.sha256), again)

    def drift(self, policy: "Policy", *, tags: bool = False) -> "DriftReport":
        """Compare the bucket and the archive with a policy, both ways; with `tags` object by object."""
        from ckpt_archive.retention.plans.drift import find_drift

        return find_drift(self._machine, self._connect(), policy, tags=tags)

    def assign(
        self, policy: "Policy", run: str, step: int, class_name: str, *, reason: str, attempt: int | None = None
    ) -> "Assigned":
        """Give a checkpoint a class of the policy; "none" lets the policy choose again.

        Raises:
            InvalidInputError: If the policy has no such class.
            NotFoundError: If the checkpoint is not committed.
        """
        from ckpt_archive.retention.by_hand.assigning import assign

        place = self._find(run, step, attempt)
        return assign(self._machine, self._connect(), policy, place, class_name, reason=reason, actor=self._actor)

    def hold(
        self, run: str, step: int | None = None, *, case: str, reason: str, attempt: int | None = None
    ) -> "Report":
        """Keep a checkpoint, or a run with all that it has and will have, until it is released.

        What came too late stands in the report.

        Raises:
            NotFoundError: If there is no such checkpoint.
            InvalidInputError: If the case can not be one.
            UnavailableError: If the store does not answer: hold again.
        """
        from ckpt_archive.retention.by_hand.holding import hold

        place = None if step is None else self._find(run, step, attempt)
        return hold(self._machine, self._connect(), run, place, case, reason, self._actor)

    def release(
        self, run: str, step: int | None = None, *, case: str, reason: str, attempt: int | None = None
    ) -> "Report":
        """Take a hold back; what is held for other cases too stays held. Raises as `hold`."""
        from ckpt_archive.retention.by_hand.holding import release

        place = None if step is None else self._find(run, step, attempt)
        return release(self._machine, self._connect(), run, place, case, reason, self._actor)

    def drop(
        self,
        policy: "Policy",
        run: str,
        first: int | None = None,
        last: int | None = None,
        *,
        reason: str,
        attempt: int | None = None,
        whole_run: bool = False,
    ) -> "Dropped":
        """Let checkpoints end that nobody wants any more: in a week, unless `undrop` takes it back.

        Raises:
            ConflictError: If one is held, or among the newest of its run.
            NotFoundError: If there is no such checkpoint.
            UnavailableError: If the store does not answer: drop again.
        """
        from ckpt_archive.retention.by_hand.dropping import drop
        from ckpt_archive.retention.by_hand.selection import Selection

        selection = Selection(run, first, last, attempt, whole_run=whole_run)
        return drop(self._machine, self._connect(), policy, selection, reason=reason, actor=self._actor)

    def undrop(
        self,
        run: str,
        first: int | None = None,
        last: int | None = None,
        *,
        reason: str = "",
        attempt: int | None = None,
    ) -> "Undropped":
        """Take a drop back while there is time; the result says for what it came too late."""
        from ckpt_archive.retention.by_hand.selection import Selection
        from ckpt_archive.retention.by_hand.undropping import undrop

        selection = Selection(run, first, last, attempt)
        return undrop(self._machine, self._connect(), selection, reason=reason, actor=self._actor)
