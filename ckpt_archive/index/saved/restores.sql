-- title: Who restored what
-- for: security and audit: who brought which model out of the archive, where to, and whether it worked.
-- answers: a restore of one checkpoint, newest first
-- param since date = today-90: recorded on this day or later
-- param run text = '': only this run; empty: all
-- param actor text = '': only by this person; empty: all
SELECT recorded_at, actor, node, run, attempt, step, outcome, subject AS restored_to, size_bytes, reason, event_id
FROM events
WHERE kind = 'restored'
  AND (:run = '' OR run = :run)
  AND (:actor = '' OR actor = :actor)
  AND month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND recorded_at >= CAST(:since AS date)
ORDER BY recorded_at DESC, event_id, run, attempt, step
