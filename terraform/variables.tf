# What is asked for. `lifecycle_rules` and the four that follow it come from
# `ckpt-archive retention plan --format terraform`, which writes `ckpt-archive.auto.tfvars.json`.

variable "bucket_name" {
  description = "Name of the bucket to make."
  type        = string
}

variable "administrators" {
  description = "ARNs, with * where wanted, of the principals that may change the bucket's configuration: at least the one that Terraform runs as. Everybody else is denied it, whatever other policies say."
  type        = list(string)

  validation {
    condition     = length(var.administrators) > 0 && alltrue([for arn in var.administrators : can(regex("^arn:", arn))])
    error_message = "Name at least one principal by its ARN, such as \"arn:aws:iam::111122223333:role/terraform\": otherwise nobody could ever change this bucket."
  }
}

variable "lifecycle_rules" {
  description = "The bucket's lifecycle rules, one to one: each becomes one rule with these members and no others. Written by `ckpt-archive retention plan --format terraform`."
  type = list(object({
    id              = string
    enabled         = bool
    prefix          = string
    tags            = map(string)
    expiration_days = optional(number)
    transitions = list(object({
      days          = number
      storage_class = string
    }))
    expired_object_delete_marker = optional(bool)
    noncurrent_days              = optional(number)
    abort_days                   = optional(number)
  }))
  default = []

  validation {
    condition     = length(distinct([for rule in var.lifecycle_rules : rule.id])) == length(var.lifecycle_rules)
    error_message = "Two lifecycle rules have the same id."
  }

  validation {
    condition     = length(var.lifecycle_rules) <= 1000
    error_message = "A bucket has at most 1,000 lifecycle rules."
  }

  validation {
    condition     = alltrue([for rule in var.lifecycle_rules : startswith(rule.prefix, var.prefix)])
    error_message = "A lifecycle rule reaches outside the archive's prefix: make the file anew with `ckpt-archive retention plan --format terraform`."
  }
}

variable "prefix" {
  description = "What the archive's keys begin with: \"\" or ending in a slash."
  type        = string
  default     = ""

  validation {
    condition     = var.prefix == "" || can(regex("^[A-Za-z0-9_.=-][A-Za-z0-9_.=/-]*/$", var.prefix))
    error_message = "A prefix ends in a slash, begins with none, and consists of letters, digits and the characters _ . = - /."
  }
}

variable "lifecycle_owner" {
  description = "Who writes the bucket's lifecycle configuration: terraform or ckpt-archive."
  type        = string
  default     = "terraform"

  validation {
    condition     = contains(["terraform", "ckpt-archive"], var.lifecycle_owner)
    error_message = "Write \"terraform\" or \"ckpt-archive\"."
  }
}

variable "retention_policy_name" {
  description = "Name of the retention policy that the rules were made from. Told in the outputs."
  type        = string
  default     = ""
}

variable "retention_policy_sha256" {
  description = "SHA-256 of that policy's file. Told in the outputs."
  type        = string
  default     = ""
}

variable "name" {
  description = "What the names of roles, schedules and the like begin with."
  type        = string
  default     = "ckpt-archive"
}

variable "tags" {
  description = "Tags of all that the module makes."
  type        = map(string)
  default     = {}
}

variable "versioning" {
  description = "Keep what is overwritten or deleted as an old version. Object Lock and replication need it."
  type        = bool
  default     = true
}

variable "object_lock" {
  description = "Make the bucket with Object Lock, which can't be taken back. Locks and legal holds themselves are written by `ckpt-archive retention`."
  type        = bool
  default     = false

  validation {
    condition     = !var.object_lock || var.versioning
    error_message = "Object Lock needs versioning = true."
  }
}

variable "access_log_bucket" {
  description = "Bucket for S3's access logs. They alone tell what lifecycle rules deleted, as CloudTrail does not."
  type        = string
  default     = null
}

variable "further_deleters" {
  description = "ARNs, with * where wanted, of principals that may delete objects beside the eraser; of the index's files also beside the maintainer. Deleting still needs a right of their own."
  type        = list(string)
  default     = []
}

variable "create_kms_key" {
  description = "Make a KMS key for the bucket. Otherwise kms_key_arn is used, or, without one, the keys of S3 itself."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "ARN of an existing KMS key for the bucket; its own policy must allow the roles to use it. Used where create_kms_key is false."
  type        = string
  default     = null
}

variable "kms_key_administrators" {
  description = "ARNs of the principals that administer the key that is made. Without any, the account's own IAM policies decide."
  type        = list(string)
  default     = []
}

variable "trusted_principals" {
  description = "By role (job, maintainer, auditor, restorer, lifecycle_admin, eraser): ARNs of those who may assume it. A role that is named neither here nor in trust_policies is not made."
  type        = map(list(string))
  default     = {}

  validation {
    condition     = alltrue([for role in keys(var.trusted_principals) : contains(["job", "maintainer", "auditor", "restorer", "lifecycle_admin", "eraser"], role)])
    error_message = "The roles are job, maintainer, auditor, restorer, lifecycle_admin and eraser."
  }

  validation {
    condition     = alltrue([for arns in values(var.trusted_principals) : length(arns) > 0])
    error_message = "Leave a role out that nobody may assume."
  }
}

variable "trust_policies" {
  description = "By role: a whole trust policy as JSON, for OIDC and the like; used instead of trusted_principals."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for role in keys(var.trust_policies) : contains(["job", "maintainer", "auditor", "restorer", "lifecycle_admin", "eraser"], role)])
    error_message = "The roles are job, maintainer, auditor, restorer, lifecycle_admin and eraser."
  }
}

variable "job_runs" {
  description = "Names of the runs that the job role may write and resume, as a pattern with *."
  type        = string
  default     = "*"

  validation {
    condition     = can(regex("^[a-z0-9._*-]+$", var.job_runs))
    error_message = "A run's name has lower-case letters, digits, dots, _ and -; here also *."
  }
}

variable "eraser_needs_mfa" {
  description = "Whether the eraser role can be assumed only with a second factor."
  type        = bool
  default     = true
}

variable "permissions_boundary_arn" {
  description = "ARN of a permissions boundary for all roles."
  type        = string
  default     = null
}

variable "maintain_image_uri" {
  description = "Container image in ECR whose handler is deploy/aws/lambda_handler.py and which has ckpt-archive[index]. Without one no schedule is made."
  type        = string
  default     = null
}

variable "maintain_schedule" {
  description = "How often `ckpt-archive maintain` runs, as EventBridge Scheduler spells it."
  type        = string
  default     = "rate(5 minutes)"
}

variable "maintain_timeout_seconds" {
  description = "The longest that one pass may take; what it does not reach is left for the next one."
  type        = number
  default     = 600

  validation {
    condition     = var.maintain_timeout_seconds >= 180 && var.maintain_timeout_seconds <= 900
    error_message = "Between 180 and 900 seconds."
  }
}

variable "maintain_memory_mb" {
  description = "Memory of one pass in MiB."
  type        = number
  default     = 1024
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps what passes of maintenance print."
  type        = number
  default     = 365
}

variable "athena" {
  description = "Make the Glue database, its tables and an Athena workgroup, so that the index can be asked in SQL."
  type        = bool
  default     = true
}

variable "athena_database" {
  description = "Name of the Glue database."
  type        = string
  default     = "ckpt_archive"

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,127}$", var.athena_database))
    error_message = "Lower-case letters, digits and _, beginning with a letter."
  }
}

variable "athena_bytes_limit" {
  description = "A question that would read more bytes than this is ended. 1 TB costs about 5 USD."
  type        = number
  default     = 109951162777

  validation {
    condition     = var.athena_bytes_limit >= 10485760
    error_message = "Athena's smallest limit is 10 MiB (10485760)."
  }
}

variable "athena_results_days" {
  description = "How long answers are kept in the bucket of results."
  type        = number
  default     = 30
}

variable "replication" {
  description = "A second copy, best in another account: ARN of its bucket (versioned; with Object Lock if this one has it), its account, its KMS key and storage class. Deletions are not copied."
  type = object({
    bucket_arn    = string
    account_id    = string
    kms_key_arn   = optional(string)
    storage_class = optional(string, "STANDARD")
  })
  default = null

  validation {
    condition     = var.replication == null || var.versioning
    error_message = "Replication needs versioning = true."
  }
}
