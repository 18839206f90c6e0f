# The lifecycle rules are those of the variable, one to one, and nobody's where ckpt-archive owns them.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = {
      account_id = "111122223333"
    }
  }

  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }
}

variables {
  bucket_name    = "example-checkpoints"
  administrators = ["arn:aws:iam::111122223333:role/terraform"]
  prefix         = "main/"
  create_kms_key = false
  athena         = false

  lifecycle_rules = [
    {
      id              = "ckpt-archive:main/:class:daily.365d.GLACIER_IR-30d"
      enabled         = true
      prefix          = "main/data/"
      tags            = { ckpt-archive-class = "daily.365d.GLACIER_IR-30d" }
      expiration_days = 365
      transitions     = [{ days = 30, storage_class = "GLACIER_IR" }]
      noncurrent_days = 1
    },
    {
      id          = "ckpt-archive:main/:abort"
      enabled     = true
      prefix      = "main/"
      tags        = {}
      transitions = []
      abort_days  = 7
    },
  ]
}

run "one_rule_for_each" {
  command = plan

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.archive[0].rule) == 2
    error_message = "Not one rule for each."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.archive[0].rule[0].expiration[0].days == 365
    error_message = "The days of a rule are not those of the variable."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.archive[0].rule[0].filter[0].and[0].tags["ckpt-archive-class"] == "daily.365d.GLACIER_IR-30d"
    error_message = "A rule about a tag has lost it: it would end everything."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.archive[0].rule[1].abort_incomplete_multipart_upload[0].days_after_initiation == 7
    error_message = "Uploads that were never finished stay."
  }

  assert {
    condition     = output.retention_policy.rules == 2
    error_message = "The output counts other rules."
  }
}

run "none_where_somebody_else_owns_them" {
  command = plan

  variables {
    lifecycle_owner = "ckpt-archive"
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.archive) == 0
    error_message = "Two would write one configuration."
  }
}

run "a_rule_outside_the_prefix_is_refused" {
  command = plan

  variables {
    prefix = "other/"
  }

  expect_failures = [var.lifecycle_rules]
}
