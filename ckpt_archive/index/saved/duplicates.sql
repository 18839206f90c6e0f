-- title: Bytes that a run stores more than once
-- for: whoever pays for storage: what deduplication could save.
-- answers: a digest that several checkpoints or writers of the run hold, under which names, and how many bytes its repetition takes
-- param run text: run name
SELECT
  sha256,
  MIN(size_bytes) AS size_bytes,
  COUNT(*) AS copies,
  MIN(path) AS first_path,
  MAX(path) AS last_path,
  COUNT(DISTINCT path) AS names,
  MIN(step) AS first_step,
  MAX(step) AS last_step,
  (COUNT(*) - 1) * MIN(size_bytes) AS repeated_bytes
FROM files
WHERE run = :run AND size_bytes > 0
GROUP BY sha256
HAVING COUNT(*) > 1
ORDER BY repeated_bytes DESC, sha256
