# A bucket for one team: the jobs of one cluster write, one group asks and restores, maintenance runs by itself.
#
# ckpt-archive.auto.tfvars.json was made of retention.toml, which is the preset `default`:
#   ckpt-archive --archive s3://example-checkpoints retention plan --policy retention.toml --format terraform

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

module "archive" {
  source = "../.."

  bucket_name    = var.bucket_name
  administrators = var.administrators
  prefix         = var.prefix

  lifecycle_rules         = var.lifecycle_rules
  lifecycle_owner         = var.lifecycle_owner
  retention_policy_name   = var.retention_policy_name
  retention_policy_sha256 = var.retention_policy_sha256

  maintain_image_uri = var.maintain_image_uri

  trusted_principals = {
    job             = var.job_principals
    auditor         = var.people
    restorer        = var.people
    lifecycle_admin = var.administrators_of_retention
  }
}

output "archive_url" {
  description = "CKPT_ARCHIVE_URL of the jobs."
  value       = module.archive.archive_url
}

output "role_arns" {
  description = "By role: what to assume."
  value       = module.archive.role_arns
}
