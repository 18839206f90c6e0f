-- title: What is not as it should be
-- for: the archive's operator and auditors: damage that was found, and records that nobody can read.
-- answers: a finding, or a check of a checkpoint that was not ok, newest first
-- param since date = today-365: recorded on this day or later
SELECT recorded_at, kind, run, attempt, step, rank, subject, digest, outcome, reason, actor, event_id
FROM events
WHERE (kind = 'finding' OR (kind IN ('verified', 'scrubbed', 'drilled', 'restored') AND outcome <> 'ok'))
  AND month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND recorded_at >= CAST(:since AS date)
ORDER BY recorded_at DESC, event_id, run, attempt, step
