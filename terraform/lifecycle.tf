# The lifecycle rules, one to one: the variable is the configuration, so that the one can be compared instead of the other.
# Members that a rule does not have are null there, or empty, and their blocks are not made.

resource "aws_s3_bucket_lifecycle_configuration" "archive" {
  #checkov:skip=CKV_AWS_300:Every policy makes a rule that ends uploads, `abort`, which checkov does not see in a variable; a test does.
  count = var.lifecycle_owner == "terraform" && length(var.lifecycle_rules) > 0 ? 1 : 0

  bucket = aws_s3_bucket.archive.id

  dynamic "rule" {
    for_each = var.lifecycle_rules

    content {
      id     = rule.value.id
      status = rule.value.enabled ? "Enabled" : "Disabled"

      filter {
        prefix = length(rule.value.tags) == 0 ? rule.value.prefix : null

        # S3 takes a prefix and tags together, or a prefix alone.
        dynamic "and" {
          for_each = length(rule.value.tags) == 0 ? [] : [rule.value]

          content {
            prefix = and.value.prefix
            tags   = and.value.tags
          }
        }
      }

      dynamic "expiration" {
        for_each = rule.value.expiration_days == null && rule.value.expired_object_delete_marker == null ? [] : [rule.value]

        content {
          days                         = expiration.value.expiration_days
          expired_object_delete_marker = expiration.value.expired_object_delete_marker
        }
      }

      dynamic "transition" {
        for_each = rule.value.transitions

        content {
          days          = transition.value.days
          storage_class = transition.value.storage_class
        }
      }

      dynamic "noncurrent_version_expiration" {
        for_each = rule.value.noncurrent_days == null ? [] : [rule.value]

        content {
          noncurrent_days = noncurrent_version_expiration.value.noncurrent_days
        }
      }

      dynamic "abort_incomplete_multipart_upload" {
        for_each = rule.value.abort_days == null ? [] : [rule.value]

        content {
          days_after_initiation = abort_incomplete_multipart_upload.value.abort_days
        }
      }
    }
  }

  # S3 refuses rules about old versions of a bucket that has none.
  depends_on = [aws_s3_bucket_versioning.archive]
}
