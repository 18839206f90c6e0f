variable "region" {
  description = "Region of the bucket."
  type        = string
}

variable "bucket_name" {
  description = "Name of the bucket."
  type        = string
}

variable "administrators" {
  description = "Who may change the bucket's configuration: what Terraform runs as."
  type        = list(string)
}

variable "administrators_of_retention" {
  description = "ARNs of those who write the retention policy."
  type        = list(string)
}

variable "job_principals" {
  description = "ARNs of the roles that training jobs run as."
  type        = list(string)
}

variable "people" {
  description = "ARNs of those who ask the index and restore."
  type        = list(string)
}

variable "maintain_image_uri" {
  description = "Container image for maintenance; without one it runs elsewhere."
  type        = string
  default     = null
}

# From here on: what ckpt-archive.auto.tfvars.json says.

variable "prefix" {
  description = "What the archive's keys begin with."
  type        = string
}

variable "lifecycle_rules" {
  description = "The lifecycle rules."
  type        = any
}

variable "lifecycle_owner" {
  description = "Who writes them."
  type        = string
}

variable "retention_policy_name" {
  description = "Name of the policy they were made from."
  type        = string
}

variable "retention_policy_sha256" {
  description = "SHA-256 of its file."
  type        = string
}
