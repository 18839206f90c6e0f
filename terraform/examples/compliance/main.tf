# An archive that regulators may ask for: Object Lock, access logs, runs written only by those who train them, erasing with a
# second factor, and a second copy in another account that nobody here can delete.
#
# ckpt-archive.auto.tfvars.json was made of retention.toml, which is the preset `eu-ai-10y`. When something is locked is no part
# of this module: `ckpt-archive retention apply` locks each checkpoint as its class says, and `retention hold` holds it.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.70, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

# The account of the copy: best one whose administrators are others.
provider "aws" {
  alias  = "copy"
  region = var.copy_region

  assume_role {
    role_arn = var.copy_role_arn
  }
}

data "aws_caller_identity" "current" {}

data "aws_caller_identity" "copy" {
  provider = aws.copy
}

locals {
  account_id = data.aws_caller_identity.current.account_id
  name       = "ckpt-archive"

  # The name of the role that the module makes, spelled out: the module itself needs the key first.
  copier_arn = "arn:aws:iam::${local.account_id}:role/${local.name}-replication"
}

module "archive" {
  source = "../.."

  name           = local.name
  bucket_name    = var.bucket_name
  administrators = var.administrators
  prefix         = var.prefix

  lifecycle_rules         = var.lifecycle_rules
  lifecycle_owner         = var.lifecycle_owner
  retention_policy_name   = var.retention_policy_name
  retention_policy_sha256 = var.retention_policy_sha256

  versioning        = true
  object_lock       = true
  access_log_bucket = var.access_log_bucket

  kms_key_administrators = var.administrators
  job_runs               = var.job_runs
  maintain_image_uri     = var.maintain_image_uri
  log_retention_days     = 3653

  trusted_principals = {
    job             = var.job_principals
    auditor         = var.people
    restorer        = var.people
    lifecycle_admin = var.administrators_of_retention
    eraser          = var.erasers
  }

  replication = {
    bucket_arn    = aws_s3_bucket.copy.arn
    account_id    = data.aws_caller_identity.copy.account_id
    kms_key_arn   = aws_kms_key.copy.arn
    storage_class = "GLACIER_IR"
  }

  # The copy must keep versions before anything is copied.
  depends_on = [aws_s3_bucket_versioning.copy]
}

resource "aws_s3_bucket" "copy" {
  #checkov:skip=CKV_AWS_18:Its account keeps its own access logs, which this one can not see.
  #checkov:skip=CKV2_AWS_62:Nothing listens to events.
  #checkov:skip=CKV2_AWS_61:Lifecycle rules here are for the copy's own administrators: without any, all is kept.
  provider = aws.copy

  bucket              = "${var.bucket_name}-copy"
  object_lock_enabled = true
}

resource "aws_s3_bucket_versioning" "copy" {
  provider = aws.copy

  bucket = aws_s3_bucket.copy.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "copy" {
  provider = aws.copy

  bucket                  = aws_s3_bucket.copy.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "copy" {
  provider = aws.copy

  bucket = aws_s3_bucket.copy.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_kms_key" "copy" {
  provider = aws.copy

  description             = "The copy of ${var.bucket_name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Administer"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::${data.aws_caller_identity.copy.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "Copy"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::${local.account_id}:root" }
        Action    = ["kms:Encrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = { ArnEquals = { "aws:PrincipalArn" = local.copier_arn } }
      },
    ]
  })
}

resource "aws_s3_bucket_server_side_encryption_configuration" "copy" {
  provider = aws.copy

  bucket = aws_s3_bucket.copy.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.copy.arn
    }
  }
}

# The other account is asked to take what this one's role sends, and refuses its deletions.
resource "aws_s3_bucket_policy" "copy" {
  provider = aws.copy

  bucket = aws_s3_bucket.copy.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TakeTheCopy"
        Effect    = "Allow"
        Principal = { AWS = module.archive.replication_role_arn }
        Action    = ["s3:ReplicateObject", "s3:ReplicateTags", "s3:ObjectOwnerOverrideToBucketOwner"]
        Resource  = "${aws_s3_bucket.copy.arn}/*"
      },
      {
        Sid       = "NothingWithoutTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.copy.arn, "${aws_s3_bucket.copy.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })

  depends_on = [aws_s3_bucket_public_access_block.copy, aws_s3_bucket_ownership_controls.copy]
}

output "archive_url" {
  description = "CKPT_ARCHIVE_URL of the jobs."
  value       = module.archive.archive_url
}

output "role_arns" {
  description = "By role: what to assume."
  value       = module.archive.role_arns
}
