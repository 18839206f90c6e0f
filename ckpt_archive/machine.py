"""What the code may ask of the machine it runs on, in one value: so that a simulation can be the machine."""

from collections.abc import Callable
from dataclasses import dataclass

from ckpt_archive.clock import Clock
from ckpt_archive.disk.protocol import FileSystem
from ckpt_archive.executor import Executor


@dataclass(frozen=True, slots=True)
class Machine:
    """The seams.

    Attributes:
        fs: The local file system.
        clock: The time.
        executor: Bounded parallel work.
        nonce: A new text of 32 hexadecimal digits at each call, never the same twice anywhere.
        node: The name of this host, for people.
    """

    fs: FileSystem
    clock: Clock
    executor: Executor
    nonce: Callable[[], str]
    node: str
