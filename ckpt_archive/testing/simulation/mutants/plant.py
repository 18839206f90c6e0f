"""Puts a mutant into this process: whatever is imported of the package from now on is the patched code, all names included.

Nothing is written: the patched sources are compiled in memory, in place of the files.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from types import CodeType, ModuleType

from ckpt_archive.testing.simulation.mutants.mutant import PACKAGE, Mutant


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        del fullname
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        source = self._sources.get(fullname)
        if source is None:
            return None
        file = str(PACKAGE.parent.joinpath(*fullname.split(".")).with_suffix(".py"))
        return importlib.util.spec_from_file_location(fullname, file, loader=_Loader(fullname, file, source))


def plant(mutant: Mutant) -> None:
    """From now on this process runs that mutant; what it has imported of the package before, it imports anew.

    Raises:
        PatchError: If it does not fit the sources.
    """
    sys.meta_path.insert(0, _Finder(mutant.sources()))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE.name]:
        del sys.modules[name]
