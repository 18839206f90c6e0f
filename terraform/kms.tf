# The key that encrypts what lies in the bucket. Whoever destroys it destroys all of the archive.

resource "aws_kms_key" "archive" {
  count = var.create_kms_key ? 1 : 0

  description             = "What lies in the bucket ${var.bucket_name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = var.tags

  policy = templatefile("${path.module}/policies/key.json.tftpl", {
    account_root   = "arn:${local.partition}:iam::${local.account_id}:root"
    administrators = length(var.kms_key_administrators) > 0 ? var.kms_key_administrators : ["arn:${local.partition}:iam::${local.account_id}:root"]
    account_id     = local.account_id
    contexts = [
      local.bucket_arn, "${local.bucket_arn}/*",
      local.results_arn, "${local.results_arn}/*",
    ]
  })
}

resource "aws_kms_alias" "archive" {
  count = var.create_kms_key ? 1 : 0

  name          = "alias/${var.name}"
  target_key_id = one(aws_kms_key.archive[*].key_id)
}
