"""One step that several attempts may have, in the ring and in the archive: the newest attempt counts, whoever holds it."""

import logging
from collections.abc import Callable, Sequence

from ckpt_archive.commit import catalog
from ckpt_archive.commit.connection import Connection
from ckpt_archive.errors import IntegrityError, NotFoundError, UnavailableError
from ckpt_archive.local.launches import read_attempt
from ckpt_archive.local.staging import RunStaging
from ckpt_archive.place import Place
from ckpt_archive.restore.choice import LocalPoint, newest_attempt_first

_log = logging.getLogger(__name__)


def candidates(
    run: RunStaging, points: Sequence[LocalPoint], step: int, connect: Callable[[], Connection]
) -> list[LocalPoint | Place]:
    """The checkpoints of a step in the order in which to try them; while the archive does not answer, the ring's alone.

    Args:
        run: The run's staging.
        points: Those of the step that the ring holds, oldest first.
        step: The step.
        connect: Connects to the archive, not patiently: the ring has the step too.
    """
    try:
        connection = connect()
        archived = catalog.find(connection.store, run.name, step)
    except NotFoundError:
        return newest_attempt_first(points, None)
    except (UnavailableError, IntegrityError) as error:
        _log.warning("step %d is looked for on this node alone: %s", step, error)
        return newest_attempt_first(points, None)
    # What launches were called in another archive says nothing here.
    here = [point for point in points if point.attempt is None or _is_of(run, point, connection.archive_id)]
    return newest_attempt_first(here, archived)


def _is_of(run: RunStaging, point: LocalPoint, archive_id: str) -> bool:
    known = read_attempt(run, point.launch)
    return known is not None and known.archive_id == archive_id
