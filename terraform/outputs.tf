output "archive_url" {
  description = "The archive's URL: CKPT_ARCHIVE_URL."
  value       = local.archive_url
}

output "bucket_name" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.archive.id
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.archive.arn
}

output "kms_key_arn" {
  description = "ARN of the key that encrypts the bucket; null where S3's own keys do."
  value       = local.kms_arn
}

output "role_arns" {
  description = "By role: its ARN. Only roles that somebody may assume are made."
  value       = { for role in local.roles : role => aws_iam_role.archive[role].arn }
}

output "role_policies" {
  description = "By role: its policy as JSON, of all six, whether the role is made or not."
  value       = local.role_policies
}

output "athena_workgroup" {
  description = "Name of the Athena workgroup; null without Athena."
  value       = one(aws_athena_workgroup.index[*].name)
}

output "athena_database" {
  description = "Name of the Glue database; null without Athena."
  value       = local.athena_database
}

output "maintain_function_arn" {
  description = "ARN of the function that runs maintenance; null without a schedule."
  value       = one(aws_lambda_function.maintain[*].arn)
}

output "replication_role_arn" {
  description = "ARN of the role that writes the second copy: its bucket's policy must allow it; null without replication."
  value       = one(aws_iam_role.replication[*].arn)
}

output "retention_policy" {
  description = "Which policy the lifecycle rules were made from, who owns them, and how many there are."
  value = {
    name   = var.retention_policy_name
    sha256 = var.retention_policy_sha256
    owner  = var.lifecycle_owner
    rules  = length(var.lifecycle_rules)
  }
}
