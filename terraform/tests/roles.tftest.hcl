# Roles are made for those who may assume them, and the schedule with its maintainer.

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
  create_kms_key = false

  trusted_principals = {
    job    = ["arn:aws:iam::111122223333:role/slurm"]
    eraser = ["arn:aws:iam::111122223333:role/privacy"]
  }
}

run "only_who_is_trusted" {
  command = plan

  assert {
    condition     = toset(keys(aws_iam_role.archive)) == toset(["job", "eraser"])
    error_message = "A role was made that nobody may assume, or one is missing."
  }

  assert {
    condition     = jsondecode(aws_iam_role.archive["eraser"].assume_role_policy).Statement[0].Condition.Bool["aws:MultiFactorAuthPresent"] == "true"
    error_message = "Data could be erased without a second factor."
  }

  assert {
    condition     = length(aws_scheduler_schedule.maintain) == 0
    error_message = "There is a schedule without an image."
  }
}

run "the_schedule_has_its_maintainer" {
  command = plan

  variables {
    maintain_image_uri = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/ckpt-archive:1"
  }

  assert {
    condition     = contains(keys(aws_iam_role.archive), "maintainer")
    error_message = "The function has no role."
  }

  assert {
    condition     = aws_lambda_function.maintain[0].environment[0].variables.CKPT_ARCHIVE_URL == "s3://example-checkpoints"
    error_message = "The function maintains something else."
  }
}

run "every_table_has_its_view" {
  command = plan

  assert {
    condition     = length(aws_glue_catalog_table.index) == length(aws_athena_named_query.view) && length(aws_glue_catalog_table.index) > 0
    error_message = "A table has no view."
  }
}

run "no_such_role" {
  command = plan

  variables {
    trusted_principals = {
      janitor = ["arn:aws:iam::111122223333:role/x"]
    }
  }

  expect_failures = [var.trusted_principals]
}
