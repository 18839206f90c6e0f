# `ckpt-archive maintain` every few minutes, as a Lambda function. A pass has a budget and goes on where the last one ended,
# and any number may run at once: so it needs no cluster, no network of its own and no queue.

locals {
  schedules = var.maintain_image_uri == null ? 0 : 1
}

resource "aws_cloudwatch_log_group" "maintain" {
  #checkov:skip=CKV_AWS_158:It holds what passes print: counts and keys, no data and no secrets. CloudWatch encrypts it with its own key.
  count = local.schedules

  name              = "/aws/lambda/${var.name}-maintain"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

resource "aws_lambda_function" "maintain" {
  #checkov:skip=CKV_AWS_117:It speaks to S3 and KMS alone; a VPC would only add a way out that needs to be paid for.
  #checkov:skip=CKV_AWS_116:A pass that failed is followed by the next one; there is nothing to be repeated.
  #checkov:skip=CKV_AWS_115:Any number of passes may run at once; the schedule starts one at a time.
  #checkov:skip=CKV_AWS_173:Its environment is the archive's URL, which is no secret.
  #checkov:skip=CKV_AWS_272:Code signing is for zip files; this is a container image, whose digest can be named in its URI.
  #checkov:skip=CKV_AWS_50:A pass is a loop over S3; its report says how long each step took.
  count = local.schedules

  function_name = "${var.name}-maintain"
  description   = "One pass of ckpt-archive maintain"
  role          = aws_iam_role.archive["maintainer"].arn
  package_type  = "Image"
  image_uri     = var.maintain_image_uri
  timeout       = var.maintain_timeout_seconds
  memory_size   = var.maintain_memory_mb
  tags          = var.tags

  image_config {
    command = ["lambda_handler.handler"]
  }

  environment {
    variables = {
      CKPT_ARCHIVE_URL = local.archive_url
    }
  }

  logging_config {
    log_format = "Text"
    log_group  = one(aws_cloudwatch_log_group.maintain[*].name)
  }
}

resource "aws_iam_role_policy" "maintain_logs" {
  count = local.schedules

  name = "logs"
  role = aws_iam_role.archive["maintainer"].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "WriteItsLog"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${one(aws_cloudwatch_log_group.maintain[*].arn)}:*"
    }]
  })
}

resource "aws_iam_role" "scheduler" {
  count = local.schedules

  name                 = "${var.name}-scheduler"
  description          = "ckpt-archive: starts passes of maintenance"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "scheduler" {
  count = local.schedules

  name = "start"
  role = one(aws_iam_role.scheduler[*].id)
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "StartAPass"
      Effect   = "Allow"
      Action   = "lambda:InvokeFunction"
      Resource = one(aws_lambda_function.maintain[*].arn)
    }]
  })
}

resource "aws_scheduler_schedule" "maintain" {
  #checkov:skip=CKV_AWS_297:A schedule holds no data: a function's ARN and how often it runs.
  count = local.schedules

  name                = "${var.name}-maintain"
  description         = "Starts ckpt-archive maintain"
  schedule_expression = var.maintain_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = one(aws_lambda_function.maintain[*].arn)
    role_arn = one(aws_iam_role.scheduler[*].arn)

    retry_policy {
      maximum_retry_attempts = 0
    }
  }
}
