-- Trino has no EXTRACT(EPOCH FROM …); TO_UNIXTIME is the same.
WITH reached AS (
  SELECT
    run,
    attempt,
    COUNT(*) AS checkpoints,
    MAX(step) AS last_step,
    SUM(save_seconds) AS save_seconds,
    MAX(save_seconds) AS longest_save_seconds,
    SUM(upload_seconds) AS upload_seconds,
    SUM(TO_UNIXTIME(committed_at) - TO_UNIXTIME(staged_at)) AS lag_seconds,
    MAX(TO_UNIXTIME(committed_at) - TO_UNIXTIME(staged_at)) AS longest_lag_seconds
  FROM checkpoints
  WHERE (:run = '' OR run = :run)
  GROUP BY run, attempt
),
launched AS (
  SELECT
    l.run,
    l.attempt,
    l.explicit,
    l.line_attempt,
    CASE WHEN l.resume_run = l.run THEN l.resume_step ELSE 0 END AS resume_step,
    r.last_step,
    LAG(r.last_step) OVER (PARTITION BY l.run, l.line_attempt ORDER BY l.attempt) AS previous_step
  FROM launches AS l
  LEFT JOIN reached AS r ON r.run = l.run AND r.attempt = l.attempt
  WHERE (:run = '' OR l.run = :run)
),
restarts AS (
  SELECT
    run,
    COUNT(*) AS launches,
    SUM(CASE WHEN attempt > line_attempt THEN 1 ELSE 0 END) AS restarts,
    SUM(CASE WHEN explicit AND attempt > 0 THEN 1 ELSE 0 END) AS rollbacks,
    SUM(CASE WHEN attempt > line_attempt AND previous_step > resume_step THEN previous_step - resume_step ELSE 0 END)
      AS lost_steps
  FROM launched
  GROUP BY run
),
totals AS (
  SELECT
    run,
    SUM(checkpoints) AS checkpoints,
    SUM(save_seconds) AS save_seconds,
    MAX(longest_save_seconds) AS longest_save_seconds,
    SUM(upload_seconds) AS upload_seconds,
    SUM(lag_seconds) AS lag_seconds,
    MAX(longest_lag_seconds) AS longest_lag_seconds
  FROM reached
  GROUP BY run
),
described AS (
  SELECT
    run,
    project,
    ROW_NUMBER() OVER (PARTITION BY run ORDER BY recorded_at DESC, log_seq DESC, labels DESC) AS newness
  FROM runs
)
SELECT
  t.run,
  d.project,
  CAST(t.checkpoints AS bigint) AS checkpoints,
  s.launches,
  CAST(s.restarts AS bigint) AS restarts,
  CAST(s.rollbacks AS bigint) AS rollbacks,
  CAST(s.lost_steps AS bigint) AS lost_steps,
  t.save_seconds,
  t.longest_save_seconds,
  t.upload_seconds / t.checkpoints AS mean_upload_seconds,
  CAST(t.lag_seconds AS double) / t.checkpoints AS mean_lag_seconds,
  CAST(t.longest_lag_seconds AS double) AS longest_lag_seconds
FROM totals AS t
LEFT JOIN restarts AS s ON s.run = t.run
LEFT JOIN described AS d ON d.run = t.run AND d.newness = 1
WHERE (:project = '' OR d.project = :project)
ORDER BY t.run
