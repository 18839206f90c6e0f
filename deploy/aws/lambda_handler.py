"""One pass of maintenance as an AWS Lambda function, started by an EventBridge schedule. See docs/deploy/maintain.md."""

from typing import Any

from ckpt_archive import Archive

_LEFT_FOR_THE_ANSWER_SECONDS = 30.0


def handler(event: object, context: Any) -> dict[str, object]:
    """Set CKPT_ARCHIVE_URL in the function's environment."""
    del event
    seconds = context.get_remaining_time_in_millis() / 1000 - _LEFT_FOR_THE_ANSWER_SECONDS
    report = Archive.open().maintain(budget_seconds=max(0.0, seconds))
    error = report.worst_error()
    if error is not None:
        # The function's error metric counts it; the next pass tries again.
        raise error
    return {"findings": report.findings, "steps": {step.step: step.did or step.left for step in report.steps}}
