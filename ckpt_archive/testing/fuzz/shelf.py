"""A store whose objects rot in place, and can be as they were again."""

from ckpt_archive.store.memory import MemoryStore

State = tuple[dict[str, object], list[str]]


class Shelf(MemoryStore):
    """Objects in memory whose bits may flip: size, ETag and time stay, as on a disk that rots."""

    def flip(self, key: str, bit: int) -> None:
        """Flip one bit of an object; flipping it again mends it."""
        at = bit // 8
        for chunk in self._objects[key].chunks:
            if at < len(chunk):
                chunk[at] ^= 1 << bit % 8
                return
            at -= len(chunk)
        raise IndexError(bit)

    def sizes(self) -> dict[str, int]:
        """The length of every object."""
        return {key: found.info.size_bytes for key, found in self._objects.items()}

    def state(self) -> State:
        """What is there now."""
        return dict(self._objects), list(self._order)

    def lost(self, before: State) -> list[str]:
        """The objects that were there and are not, or were replaced."""
        return [key for key, found in before[0].items() if self._objects.get(key) is not found]

    def added(self, before: State) -> list[str]:
        """The objects that were not there."""
        return [key for key in self._order if key not in before[0]]

    def restore_state(self, before: State) -> None:
        """Be as it was."""
        self._objects = dict(before[0])  # type: ignore[arg-type]
        self._order = list(before[1])
