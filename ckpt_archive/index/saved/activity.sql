-- title: What happened, day by day
-- for: whoever looks after the archive: checkpoints and events per day, so that a silence or a flood shows.
-- answers: a day (in UTC) and a kind of event (committed: checkpoints), how often, about how many bytes
-- param since date = today-30: on this day or later
SELECT
  CAST(committed_at AS date) AS on_day,
  'committed' AS kind,
  COUNT(*) AS how_many,
  CAST(SUM(size_bytes) AS bigint) AS size_bytes
FROM checkpoints
WHERE month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND committed_at >= CAST(:since AS date)
GROUP BY CAST(committed_at AS date)
UNION ALL
SELECT CAST(recorded_at AS date), kind, COUNT(*), CAST(SUM(size_bytes) AS bigint)
FROM events
WHERE month >= SUBSTR(CAST(:since AS varchar), 1, 7) AND recorded_at >= CAST(:since AS date)
GROUP BY CAST(recorded_at AS date), kind
ORDER BY on_day, kind
