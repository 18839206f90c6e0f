"""What is besieged: the one SeaweedFS process, or the nodes of a cluster, under one set of names."""

import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Protocol

from ckpt_archive.clock import Clock
from ckpt_archive.devserver import DevServer
from ckpt_archive.testing.cluster import NODES, SIZES, DevCluster, Node


class Servers(Protocol):
    """The servers behind one S3 endpoint."""

    @property
    def weights(self) -> Mapping[str, int]:
        """How often each is struck, against each other and the clients; "leader" is the master that leads."""
        ...

    @property
    def port(self) -> int:
        """Where S3 is spoken."""
        ...

    def environment(self) -> dict[str, str]:
        """For clients."""
        ...

    def real_name(self, name: str) -> str | None:
        """Which node that is now; None if there is none at the moment."""
        ...

    def receiver(self) -> str | None:
        """A node that has stored bytes since this was asked the last time."""
        ...

    def nodes(self) -> Iterable[str]:
        """All of them, in the order in which they are started."""
        ...

    def kill(self, name: str) -> bool:
        """SIGKILL; whether it lived."""
        ...

    def freeze(self, name: str) -> None:
        """SIGSTOP."""
        ...

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        ...

    def restart(self, name: str, *, wait: bool) -> None:
        """Start it again."""
        ...

    def close(self) -> None:
        """End them and remove what they stored."""
        ...


class _Growth:
    """Which folder of volumes grows.

    Args:
        folders: By the name of their node.
    """

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders
        self._sizes: dict[str, int] = {}

    def look(self) -> str | None:
        """One that has grown since the last look."""
        before, self._sizes = self._sizes, {name: _volume_bytes(path) for name, path in self._folders.items()}
        return next((name for name, size in self._sizes.items() if size > before.get(name, size)), None)


def _volume_bytes(folder: str) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(".dat"))


class Single:
    """One process that is a whole server.

    Args:
        folder: For it.
        clock: Paces the waiting.
    """

    weights: Mapping[str, int] = {"server": 15}

    def __init__(self, folder: str, clock: Clock) -> None:
        self._server = DevServer(folder, clock=clock)
        self._growth = _Growth({"server": os.path.join(folder, "data")})

    @property
    def port(self) -> int:
        """See `Servers.port`."""
        return int(self._server.endpoint_url.rpartition(":")[2])

    def environment(self) -> dict[str, str]:
        """See `Servers.environment`."""
        return self._server.environment()

    def real_name(self, name: str) -> str | None:
        """See `Servers.real_name`."""
        return name

    def nodes(self) -> Iterable[str]:
        """See `Servers.nodes`."""
        return ("server",)

    def receiver(self) -> str | None:
        """See `Servers.receiver`."""
        return self._growth.look()

    def kill(self, name: str) -> bool:
        """See `Servers.kill`."""
        lived = self._server.is_running
        self._server.kill()
        return lived

    def freeze(self, name: str) -> None:
        """See `Servers.freeze`."""
        self._server.freeze()

    def thaw(self, name: str) -> None:
        """See `Servers.thaw`."""
        self._server.thaw()

    def restart(self, name: str, *, wait: bool) -> None:
        """See `Servers.restart`."""
        self._server.restart(wait=wait)

    def close(self) -> None:
        """See `Servers.close`."""
        self._server.kill()
        shutil.rmtree(self._server.folder)


class Clustered:
    """The nodes of a cluster.

    Args:
        folder: For it.
        clock: Paces the waiting.
    """

    weights: Mapping[str, int] = {
        "s30": 7,
        "filer0": 6,
        **{f"volume{index}": 6 for index in range(SIZES["volume"])},
        "leader": 3,
        "master": 2,
    }

    def __init__(self, folder: str, clock: Clock) -> None:
        self._folder = folder
        self._cluster = DevCluster(folder, clock=clock)
        self._nodes = {str(node): node for node in NODES}
        self._growth = _Growth({str(node): self._cluster.data_path(node) for node in NODES if node.role == "volume"})

    @property
    def port(self) -> int:
        """See `Servers.port`."""
        return int(self._cluster.endpoint_url.rpartition(":")[2])

    def environment(self) -> dict[str, str]:
        """See `Servers.environment`."""
        return self._cluster.environment()

    def real_name(self, name: str) -> str | None:
        """See `Servers.real_name`."""
        if name in self._nodes:
            return name
        leader = self._cluster.leader()
        if leader is None or name == "leader":
            return None if leader is None else str(leader)
        others = [Node("master", index) for index in range(SIZES["master"]) if index != leader.index]
        living = [node for node in others if self._cluster.is_running(node)]
        return str(living[0]) if living else None

    def nodes(self) -> Iterable[str]:
        """See `Servers.nodes`."""
        return self._nodes

    def receiver(self) -> str | None:
        """See `Servers.receiver`."""
        return self._growth.look()

    def kill(self, name: str) -> bool:
        """See `Servers.kill`."""
        node = self._nodes[name]
        return self._cluster.kill(node.role, node.index)

    def freeze(self, name: str) -> None:
        """See `Servers.freeze`."""
        node = self._nodes[name]
        self._cluster.freeze(node.role, node.index)

    def thaw(self, name: str) -> None:
        """See `Servers.thaw`."""
        node = self._nodes[name]
        self._cluster.thaw(node.role, node.index)

    def restart(self, name: str, *, wait: bool) -> None:
        """See `Servers.restart`."""
        node = self._nodes[name]
        self._cluster.restart(node.role, node.index, wait=wait)

    def close(self) -> None:
        """See `Servers.close`."""
        self._cluster.stop()
        shutil.rmtree(self._folder)
