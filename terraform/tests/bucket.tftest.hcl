# What the bucket refuses, and what can not be asked for together.

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
  athena         = false
}

run "nothing_is_public" {
  command = plan

  assert {
    condition     = aws_s3_bucket_public_access_block.archive.block_public_acls && aws_s3_bucket_public_access_block.archive.restrict_public_buckets
    error_message = "The bucket could be made public."
  }
}

run "the_policy_denies_and_allows_nothing" {
  command = plan

  assert {
    condition     = alltrue([for statement in jsondecode(aws_s3_bucket_policy.archive.policy).Statement : statement.Effect == "Deny"])
    error_message = "A bucket policy that allows reaches further than the roles."
  }

  assert {
    condition     = contains([for statement in jsondecode(aws_s3_bucket_policy.archive.policy).Statement : statement.Sid], "NothingIsOverwritten")
    error_message = "Objects can be overwritten."
  }
}

run "object_lock_needs_versions" {
  command = plan

  variables {
    object_lock = true
    versioning  = false
  }

  expect_failures = [var.object_lock]
}

run "somebody_administers" {
  command = plan

  variables {
    administrators = []
  }

  expect_failures = [var.administrators]
}

run "a_copy_of_encrypted_objects_needs_a_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/11111111-1111-1111-1111-111111111111"
    replication = {
      bucket_arn = "arn:aws:s3:::example-copy"
      account_id = "444455556666"
    }
  }

  expect_failures = [aws_s3_bucket_replication_configuration.archive]
}
