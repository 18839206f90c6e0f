-- title: What the index has not seen yet
-- for: whoever relies on an answer: up to when the index is complete, and what was announced and is not there.
-- answers: the newest batch of the log: what was announced before its watermark is in the index, among the unresolved, or a finding
WITH newest AS (
  SELECT MAX(log_seq) AS log_seq FROM sync_log
),
totals AS (
  SELECT CAST(SUM(entries) AS bigint) AS entries, CAST(SUM(findings) AS bigint) AS findings, COUNT(*) AS batches
  FROM sync_log
)
SELECT
  s.log_seq,
  s.watermark,
  s.sealed_at,
  s.swept_at,
  s.unresolved,
  s.oldest_unresolved_at,
  s.unresolved_keys,
  t.batches,
  t.entries,
  t.findings
FROM sync_log AS s
JOIN newest AS n ON n.log_seq = s.log_seq
CROSS JOIN totals AS t
ORDER BY s.log_seq
