"""What is asked. A value."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        sql: One SELECT.
        as_of: As the archive knew it at this time; None for now.
        output: The path of a Parquet file that may be written, absolute; "" for none.
    """

    sql: str
    as_of: datetime | None = None
    output: str = ""
