-- title: Incidents, and where the model was in use
-- for: whoever must report a serious incident: which checkpoint, and every system that it had been put into by then.
-- answers: an incident and a deployment of the checkpoint (or of its run, if the incident names no checkpoint); NULL: none is known
-- param since date = today-365: recorded on this day or later
SELECT
  i.recorded_at,
  i.subject AS incident,
  i.outcome AS severity,
  i.reason,
  i.run,
  i.attempt,
  i.step,
  d.subject AS deployed_to,
  d.outcome AS environment,
  d.recorded_at AS deployed_at,
  d.attempt AS deployed_attempt,
  d.step AS deployed_step
FROM events AS i
LEFT JOIN events AS d
  ON d.kind = 'deployed'
  AND d.run = i.run
  AND d.attempt = COALESCE(i.attempt, d.attempt)
  AND d.step = COALESCE(i.step, d.step)
  AND d.recorded_at <= i.recorded_at
WHERE i.kind = 'incident'
  AND i.month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND i.recorded_at >= CAST(:since AS date)
ORDER BY i.recorded_at, i.event_id, i.run, i.attempt, i.step, deployed_at, d.event_id, deployed_attempt, deployed_step
