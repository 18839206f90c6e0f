-- title: A metric over the steps of a run, across its launches
-- for: an engineer who compares launches, sees where a roll-back was worth it, and which branch the newest model is on.
-- answers: a value of the metric at a checkpoint; on_path: no later launch of the run went back to before it
-- param run text: run name
-- param metric text = loss: name of the metric
WITH turns AS (
  SELECT attempt, CASE WHEN resume_run = run THEN resume_step ELSE -1 END AS resume_step
  FROM launches
  WHERE run = :run
),
values_of AS (
  SELECT run, attempt, step, value, committed_at
  FROM metrics
  WHERE run = :run AND name = :metric
),
left_behind AS (
  SELECT DISTINCT v.attempt, v.step
  FROM values_of AS v
  JOIN turns AS t ON t.attempt > v.attempt
  WHERE t.resume_step < v.step
)
SELECT v.step, v.attempt, v.value, v.committed_at, (b.step IS NULL) AS on_path
FROM values_of AS v
LEFT JOIN left_behind AS b ON b.attempt = v.attempt AND b.step = v.step
ORDER BY v.step, v.attempt
