# The index as tables of Glue, and a workgroup of Athena with a limit. Columns come from the tables' own Delta log.

locals {
  archive_url     = trimsuffix("s3://${var.bucket_name}/${var.prefix}", "/")
  athenas         = var.athena ? 1 : 0
  results_bucket  = "${var.bucket_name}-athena-results"
  results_arn     = "arn:${local.partition}:s3:::${local.results_bucket}"
  index_tables    = jsondecode(file("${path.module}/index.json"))
  glue_tables     = { for name, table in local.index_tables : name => table if var.athena }
  athena_database = one(aws_glue_catalog_database.index[*].name)
}

resource "aws_glue_catalog_database" "index" {
  count = local.athenas

  name        = var.athena_database
  description = "The index of ${local.archive_url}"
}

# Their names end in _delta: what one should ask are views of what all tables have already, see the named queries below.
resource "aws_glue_catalog_table" "index" {
  for_each = local.glue_tables

  name          = "${each.key}_delta"
  database_name = local.athena_database
  description   = "A row is ${each.value.purpose}"
  table_type    = "EXTERNAL_TABLE"

  parameters = {
    EXTERNAL   = "TRUE"
    table_type = "DELTA"
  }

  storage_descriptor {
    location = "${local.archive_url}/index/${each.key}/"

    dynamic "columns" {
      for_each = each.value.columns

      content {
        name    = columns.value.name
        type    = columns.value.type
        comment = columns.value.comment
      }
    }
  }
}

# Athena makes its views itself: run each of these once, after the first pass of maintenance.
resource "aws_athena_named_query" "view" {
  for_each = local.glue_tables

  name        = "view of ${each.key}"
  description = "Makes the view ${each.key}: what all tables have already"
  workgroup   = one(aws_athena_workgroup.index[*].id)
  database    = local.athena_database

  query = join("\n", [
    "CREATE OR REPLACE VIEW \"${var.athena_database}\".\"${each.key}\" AS",
    # A view of Athena can not have times with a zone: they become times of UTC.
    "SELECT ${join(", ", [for column in each.value.columns : column.type == "timestamp" ? "CAST(\"${column.name}\" AS timestamp) AS \"${column.name}\"" : "\"${column.name}\""])}",
    "FROM \"${var.athena_database}\".\"${each.key}_delta\"",
    "WHERE log_seq <= (SELECT MAX(log_seq) FROM \"${var.athena_database}\".\"sync_log_delta\");",
  ])
}

resource "aws_athena_workgroup" "index" {
  count = local.athenas

  name        = var.name
  description = "Questions to the index of ${local.archive_url}"
  tags        = var.tags

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.athena_bytes_limit

    engine_version {
      selected_engine_version = "Athena engine version 3"
    }

    result_configuration {
      output_location       = "s3://${one(aws_s3_bucket.results[*].id)}/"
      expected_bucket_owner = local.account_id

      encryption_configuration {
        encryption_option = local.has_kms ? "SSE_KMS" : "SSE_S3"
        kms_key_arn       = local.kms_arn
      }
    }
  }
}

# Answers lie in a bucket of their own: nothing but the archive writes into the archive's.
resource "aws_s3_bucket" "results" {
  #checkov:skip=CKV_AWS_144:Answers can be asked for again.
  #checkov:skip=CKV_AWS_21:Answers can be asked for again, and are deleted after a while.
  #checkov:skip=CKV_AWS_18:Athena's own history says who asked what.
  #checkov:skip=CKV2_AWS_62:Nothing listens to events.
  count = local.athenas

  bucket        = local.results_bucket
  force_destroy = true
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "results" {
  count = local.athenas

  bucket                  = one(aws_s3_bucket.results[*].id)
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "results" {
  count = local.athenas

  bucket = one(aws_s3_bucket.results[*].id)

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "results" {
  count = local.athenas

  bucket = one(aws_s3_bucket.results[*].id)

  rule {
    bucket_key_enabled = local.has_kms

    apply_server_side_encryption_by_default {
      sse_algorithm     = local.has_kms ? "aws:kms" : "AES256"
      kms_master_key_id = local.kms_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "results" {
  count = local.athenas

  bucket = one(aws_s3_bucket.results[*].id)

  rule {
    id     = "answers"
    status = "Enabled"

    filter {
      prefix = ""
    }

    expiration {
      days = var.athena_results_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "results" {
  count = local.athenas

  bucket = one(aws_s3_bucket.results[*].id)
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "NothingWithoutTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [local.results_arn, "${local.results_arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.results, aws_s3_bucket_ownership_controls.results]
}

resource "aws_iam_role_policy" "auditor_athena" {
  count = var.athena && contains(local.roles, "auditor") ? 1 : 0

  name = "athena"
  role = aws_iam_role.archive["auditor"].id
  policy = templatefile("${path.module}/policies/auditor-athena.json.tftpl", {
    results_arn   = local.results_arn
    workgroup_arn = one(aws_athena_workgroup.index[*].arn)
    catalog_arn   = "arn:${local.partition}:glue:*:${local.account_id}:catalog"
    database_arn  = "arn:${local.partition}:glue:*:${local.account_id}:database/${var.athena_database}"
    tables_arn    = "arn:${local.partition}:glue:*:${local.account_id}:table/${var.athena_database}/*"
  })
}
