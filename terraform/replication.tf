# A second copy. Tags, locks and legal holds are copied, and follow when they change; deletions are not copied, and lifecycle
# rules act on each bucket by themselves: the copy needs rules of its own.

locals {
  replications = var.replication == null ? 0 : 1
  replica_arn  = one(var.replication[*].bucket_arn)
  replica_key  = one(var.replication[*].kms_key_arn)
}

resource "aws_iam_role" "replication" {
  count = local.replications

  name                 = "${var.name}-replication"
  description          = "ckpt-archive: copies ${var.bucket_name}"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "replication" {
  count = local.replications

  name = "copy"
  role = one(aws_iam_role.replication[*].id)
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      jsondecode(templatefile("${path.module}/policies/replication.json.tftpl", {
        bucket_arn = local.bucket_arn
        prefix     = var.prefix
        copy_arn   = local.replica_arn
      })).Statement,
      local.has_kms ? [{
        Sid      = "ReadWithTheBucketsKey"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = local.kms_arn
      }] : [],
      local.replica_key == null ? [] : [{
        Sid      = "WriteWithTheCopysKey"
        Effect   = "Allow"
        Action   = ["kms:Encrypt", "kms:GenerateDataKey"]
        Resource = local.replica_key
      }],
    )
  })
}

resource "aws_s3_bucket_replication_configuration" "archive" {
  count = local.replications

  bucket = aws_s3_bucket.archive.id
  role   = one(aws_iam_role.replication[*].arn)

  rule {
    id     = "archive"
    status = "Enabled"

    filter {
      prefix = var.prefix
    }

    # Neither an eraser nor a lifecycle rule here takes the copy away.
    delete_marker_replication {
      status = "Disabled"
    }

    dynamic "source_selection_criteria" {
      for_each = local.has_kms ? [1] : []

      content {
        sse_kms_encrypted_objects {
          status = "Enabled"
        }
      }
    }

    destination {
      bucket        = local.replica_arn
      account       = one(var.replication[*].account_id)
      storage_class = one(var.replication[*].storage_class)

      access_control_translation {
        owner = "Destination"
      }

      dynamic "encryption_configuration" {
        for_each = local.replica_key == null ? [] : [local.replica_key]

        content {
          replica_kms_key_id = encryption_configuration.value
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = !local.has_kms || local.replica_key != null
      error_message = "This bucket is encrypted with a KMS key: name the copy's key in replication.kms_key_arn, otherwise nothing would be copied."
    }
  }

  depends_on = [aws_s3_bucket_versioning.archive]
}
