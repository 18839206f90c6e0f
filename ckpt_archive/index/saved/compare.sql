-- title: How two checkpoints differ
-- for: whoever asks what changed between two models, file by file, by digest.
-- answers: a file that only one of them has, or that differs; and where the other one has the same bytes under another name
-- param run text: run of the first checkpoint
-- param attempt integer: its launch
-- param step integer: its step
-- param other_run text: run of the second one
-- param other_attempt integer: its launch
-- param other_step integer: its step
WITH first_one AS (
  SELECT path, size_bytes, sha256
  FROM files
  WHERE run = :run AND attempt = CAST(:attempt AS bigint) AND step = CAST(:step AS bigint)
),
second_one AS (
  SELECT path, size_bytes, sha256
  FROM files
  WHERE run = :other_run AND attempt = CAST(:other_attempt AS bigint) AND step = CAST(:other_step AS bigint)
),
first_bytes AS (
  SELECT sha256, MIN(path) AS path FROM first_one WHERE size_bytes > 0 GROUP BY sha256
),
second_bytes AS (
  SELECT sha256, MIN(path) AS path FROM second_one WHERE size_bytes > 0 GROUP BY sha256
),
pairs AS (
  SELECT
    COALESCE(a.path, b.path) AS path,
    a.path AS first_path,
    b.path AS second_path,
    a.size_bytes AS size_before,
    b.size_bytes AS size_after,
    a.sha256 AS sha256_before,
    b.sha256 AS sha256_after
  FROM first_one AS a
  FULL OUTER JOIN second_one AS b ON b.path = a.path
)
SELECT
  p.path,
  CASE WHEN p.first_path IS NULL THEN 'added' WHEN p.second_path IS NULL THEN 'removed' ELSE 'changed' END AS difference,
  p.size_before,
  p.size_after,
  p.sha256_before,
  p.sha256_after,
  CASE WHEN p.first_path IS NULL THEN x.path WHEN p.second_path IS NULL THEN y.path END AS same_bytes_as
FROM pairs AS p
LEFT JOIN first_bytes AS x ON x.sha256 = p.sha256_after
LEFT JOIN second_bytes AS y ON y.sha256 = p.sha256_before
WHERE p.first_path IS NULL OR p.second_path IS NULL OR p.sha256_before <> p.sha256_after
ORDER BY p.path
