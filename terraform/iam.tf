# One role for each kind of work. What each may do stands in policies/, as JSON that can be read and tested by itself.

locals {
  role_names = ["job", "maintainer", "auditor", "restorer", "lifecycle_admin", "eraser"]

  # Only what somebody may assume is made; the maintainer also for the schedule.
  roles = toset([
    for role in local.role_names : role
    if contains(keys(var.trusted_principals), role) || contains(keys(var.trust_policies), role) || (role == "maintainer" && var.maintain_image_uri != null)
  ])

  policy_values = {
    bucket_arn = local.bucket_arn
    prefix     = var.prefix
    job_runs   = var.job_runs
  }
  role_policies = { for role in local.role_names : role => templatefile("${path.module}/policies/${role}.json.tftpl", local.policy_values) }

  # Who writes needs both: the parts of an upload are decrypted when they are joined.
  key_statement = {
    Sid      = "UseTheBucketsKey"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = local.kms_arn
  }
  rules_statement = {
    Sid      = "WriteLifecycleRules"
    Effect   = "Allow"
    Action   = "s3:PutLifecycleConfiguration"
    Resource = local.bucket_arn
  }

  trust = {
    for role in local.roles : role => jsonencode({
      Version = "2012-10-17"
      Statement = concat(
        [for arns in [lookup(var.trusted_principals, role, [])] : {
          Effect    = "Allow"
          Principal = { AWS = arns }
          Action    = "sts:AssumeRole"
          Condition = role == "eraser" && var.eraser_needs_mfa ? { Bool = { "aws:MultiFactorAuthPresent" = "true" } } : {}
        } if length(arns) > 0],
        [for service in ["lambda.amazonaws.com"] : {
          Effect    = "Allow"
          Principal = { Service = service }
          Action    = "sts:AssumeRole"
        } if role == "maintainer" && var.maintain_image_uri != null],
      )
    })
  }
}

resource "aws_iam_role" "archive" {
  for_each = local.roles

  name                 = "${var.name}-${replace(each.key, "_", "-")}"
  description          = "ckpt-archive: ${replace(each.key, "_", " ")} of ${var.bucket_name}/${var.prefix}"
  assume_role_policy   = lookup(var.trust_policies, each.key, local.trust[each.key])
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "archive" {
  for_each = local.roles

  name   = "archive"
  role   = aws_iam_role.archive[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      jsondecode(local.role_policies[each.key]).Statement,
      local.has_kms ? [local.key_statement] : [],
      each.key == "lifecycle_admin" && var.lifecycle_owner == "ckpt-archive" ? [local.rules_statement] : [],
    )
  })
}
