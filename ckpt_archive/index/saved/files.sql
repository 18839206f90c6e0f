-- title: The files of a checkpoint, and where their bytes lie
-- for: whoever restores or checks a checkpoint by hand, with the store's own tools and sha256sum.
-- answers: a file, with the key of the object that holds it (NULL: it is empty), where it begins there, and its digest; what was adopted in place has its whole key in the bucket, with a '/' before it
-- param run text: run name
-- param attempt integer: number of the launch
-- param step integer: training step
SELECT
  path,
  rank,
  size_bytes,
  sha256,
  CASE
    WHEN object_key IS NOT NULL THEN '/' || object_key
    WHEN size_bytes > 0 THEN
      'data/' || run || '/' || LPAD(CAST(attempt AS varchar), 8, '0') || '/' || LPAD(CAST(step AS varchar), 12, '0')
        || '/' || LPAD(CAST(rank AS varchar), 6, '0') || '/' || COALESCE(object_sha256, sha256)
  END AS object_key,
  COALESCE(object_offset, 0) AS object_offset,
  tensor_layout_sha256
FROM files
WHERE run = :run AND attempt = CAST(:attempt AS bigint) AND step = CAST(:step AS bigint)
ORDER BY path, rank
