"""Runs a Python module in a process that is killed when the one that started it ends.

`python -m ckpt_archive.demo.mortal PARENT MODULE ARGUMENT ...`. Linux kills it when the *thread* that started it ends, so
that has to be the main thread of the process PARENT.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def main() -> None:
    """The entry point."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the process can not be bound to the life of its parent")
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
