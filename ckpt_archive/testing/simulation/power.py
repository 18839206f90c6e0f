"""What a power loss leaves of a simulated disk.

After ALICE (Pillai et al., OSDI 2014): between two fsyncs every name and every content persists on its own and in no order.
A synced file may lose its name; an unsynced rename may leave either name, both or none; unsynced content may be there, be
gone, be zeros, be cut anywhere, or be a patchwork of old, new and zeros.
"""

import random

from ckpt_archive.disk.protocol import Kind
from ckpt_archive.testing.simulation.inode import Inode, below

# Bytes that persist together: whole sectors, and less, so that small records are torn too.
_BLOCKS = (1, 16, 64, 512, 4096)


def lose_power(root: Inode, chance: random.Random) -> None:
    """Change everything below `root` into what a restart would find."""
    # How much the disk had written back by itself: nothing, everything, or some of it.
    newest = chance.choice((0.0, 0.2, 0.5, 0.8, 1.0))
    _keep_one_name_of_directories(_choose_names(root, newest, chance), chance)
    counted: dict[Inode, int] = {}
    for _, inode in below(root):
        counted[inode] = counted.get(inode, 0) + 1
    for inode, names in counted.items():
        inode.link_count = names
        inode.shown = inode.listing = None
        inode.shared, inode.exclusive = 0, False
        inode.waiting.clear()
        if inode.base is not None:
            inode.data = _torn(inode, newest, chance)
            inode.base = None
        inode.doomed = False


def _choose_names(root: Inode, newest: float, chance: random.Random) -> dict[Inode, list[tuple[Inode, str, bool]]]:
    """Decide every pending name; where each directory is now found: (in which, name, whether that name was durable)."""
    found: dict[Inode, list[tuple[Inode, str, bool]]] = {}
    folders = [root]
    while folders:
        folder = folders.pop()
        folder.shown = folder.listing = None
        pending, folder.pending = folder.pending, {}
        for name, states in pending.items():
            survivor = states[-1] if chance.random() < newest else chance.choice(states[:-1])
            if survivor is not None:
                folder.entries[name] = survivor
            else:
                folder.entries.pop(name, None)
        for name, inode in folder.entries.items():
            if inode.kind is Kind.DIRECTORY:
                if inode not in found:
                    folders.append(inode)
                found.setdefault(inode, []).append((folder, name, name not in pending))
    return found


def _keep_one_name_of_directories(found: dict[Inode, list[tuple[Inode, str, bool]]], chance: random.Random) -> None:
    """No file system lets a directory have two names: a durable one wins, else any."""
    for places in found.values():
        if len(places) > 1:
            kept = chance.choice([place for place in places if place[2]] or places)
            for folder, name, _ in places:
                if (folder, name) != kept[:2]:
                    del folder.entries[name]


def _torn(inode: Inode, newest: float, chance: random.Random) -> bytearray:
    new, old = bytes(inode.data), inode.base or b""
    if not inode.doomed and chance.random() < newest:
        return bytearray(new)
    if chance.random() < 0.25:
        return bytearray(old)
    # The length persists on its own too.
    size = chance.choice((len(old), len(new), chance.randint(min(len(old), len(new)), max(len(old), len(new)))))
    block = chance.choice(_BLOCKS)
    result = bytearray(size)
    choices = chance.choice(((old, b""), (old, new, b""), (b"",)))
    if inode.doomed:
        choices = (old, b"")
    # More than some hundred pieces show nothing that fewer would not.
    block = max(block, size // 256)
    for start in range(0, size, block):
        source = chance.choice(choices)[start : min(start + block, size)]
        result[start : start + len(source)] = source
    return result
