# The bucket, and what it refuses to everybody.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  bucket_arn = "arn:${local.partition}:s3:::${var.bucket_name}"
  kms_arn    = var.create_kms_key ? one(aws_kms_key.archive[*].arn) : var.kms_key_arn
  has_kms    = var.create_kms_key || var.kms_key_arn != null

  # Names that are known before anything is made, so that policies can name roles which do not exist yet.
  role_arns = {
    for role in local.role_names : role => "arn:${local.partition}:iam::${local.account_id}:role/${var.name}-${replace(role, "_", "-")}"
  }

  bucket_policy = templatefile("${path.module}/policies/bucket.json.tftpl", {
    bucket_arn       = local.bucket_arn
    prefix           = var.prefix
    administrators   = var.administrators
    writers_of_rules = var.lifecycle_owner == "ckpt-archive" ? concat(var.administrators, [local.role_arns.lifecycle_admin]) : var.administrators
    deleters         = concat([local.role_arns.eraser], var.further_deleters)
    index_deleters   = concat([local.role_arns.eraser, local.role_arns.maintainer], var.further_deleters)
    keepers          = [local.role_arns.lifecycle_admin, local.role_arns.maintainer]
    eraser           = local.role_arns.eraser
  })
  # Who sends another key, or none, in the header of a request; without such a header the bucket's own key is used.
  key_policy = templatefile("${path.module}/policies/bucket-key.json.tftpl", {
    bucket_arn = local.bucket_arn
    kms_arn    = local.has_kms ? local.kms_arn : ""
  })
}

resource "aws_s3_bucket" "archive" {
  #checkov:skip=CKV2_AWS_62:Nothing listens to events: the archive tells in log/pending/ what happened.
  bucket              = var.bucket_name
  object_lock_enabled = var.object_lock
  tags                = var.tags
}

resource "aws_s3_bucket_versioning" "archive" {
  bucket = aws_s3_bucket.archive.id

  versioning_configuration {
    status = var.versioning ? "Enabled" : "Disabled"
  }
}

resource "aws_s3_bucket_public_access_block" "archive" {
  bucket                  = aws_s3_bucket.archive.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "archive" {
  bucket = aws_s3_bucket.archive.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "archive" {
  bucket = aws_s3_bucket.archive.id

  rule {
    # A key of the bucket's own saves a request to KMS for every part.
    bucket_key_enabled = local.has_kms

    apply_server_side_encryption_by_default {
      sse_algorithm     = local.has_kms ? "aws:kms" : "AES256"
      kms_master_key_id = local.kms_arn
    }
  }
}

resource "aws_s3_bucket_logging" "archive" {
  count = var.access_log_bucket == null ? 0 : 1

  bucket        = aws_s3_bucket.archive.id
  target_bucket = var.access_log_bucket
  target_prefix = "${var.bucket_name}/"
}

resource "aws_s3_bucket_policy" "archive" {
  bucket = aws_s3_bucket.archive.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      jsondecode(local.bucket_policy).Statement,
      [for statement in jsondecode(local.key_policy).Statement : statement if local.has_kms],
    )
  })

  # S3 takes one change of a bucket's access at a time.
  depends_on = [aws_s3_bucket_public_access_block.archive, aws_s3_bucket_ownership_controls.archive]
}
