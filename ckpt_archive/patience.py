"""How long somebody is willing to wait for a store that does not answer."""

import enum


class Patience(enum.Enum):
    """Who waits.

    LONG: a person or a script that wants the work done, however the store feels; minutes.
    MEDIUM: the agent, which has other work and comes back; half a minute.
    SHORT: a process that waits to train; seconds.
    """

    LONG = "long"
    MEDIUM = "medium"
    SHORT = "short"
