-- title: Checkpoints that were given up
-- for: whoever must show that nothing is missing silently: the recorded decisions that a step will never be archived.
-- answers: a step of a launch that was given up, by whom and why
-- param run text = '': only this run; empty: all
-- param since date = today-365: recorded on this day or later
SELECT run, attempt, step, reason, actor, node, happened_at, recorded_at
FROM events
WHERE kind = 'gap'
  AND (:run = '' OR run = :run)
  AND month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND recorded_at >= CAST(:since AS date)
ORDER BY run, attempt, step, recorded_at, event_id
