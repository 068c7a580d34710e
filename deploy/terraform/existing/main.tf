# Generated from deploy/cloudformation/existing.yaml by `make docs`. Do not edit.

variable "stack_name" {
  type        = string
  description = "The name of the stack."
  default     = "limits-existing"
}

variable "stack_role_arn" {
  type        = string
  description = "The role that CloudFormation assumes. Unset: your own."
  default     = null
}

variable "stack_tags" {
  type        = map(string)
  description = "Tags of the stack, which CloudFormation also gives to its resources."
  default     = {}
}

variable "stream_arn" {
  type     = string
  nullable = false

  validation {
    condition     = can(regex("^(arn:aws[^:]*:kinesis:[^:]+:[0-9]+:stream/[a-zA-Z0-9_.-]{1,128})$", var.stream_arn))
    error_message = "must match arn:aws[^:]*:kinesis:[^:]+:[0-9]+:stream/[a-zA-Z0-9_.-]{1,128}"
  }
}

variable "limits_table_name" {
  type     = string
  nullable = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9_.-]{3,255})$", var.limits_table_name))
    error_message = "must match [a-zA-Z0-9_.-]{3,255}"
  }
}

variable "limits_table_stream_arn" {
  type        = string
  description = "The stream of the limits table with new and old images, which notices.yaml needs."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((arn:aws[^:]*:dynamodb:[^:]+:[0-9]+:table/.+/stream/.+)?)$", var.limits_table_stream_arn))
    error_message = "must match (arn:aws[^:]*:dynamodb:[^:]+:[0-9]+:table/.+/stream/.+)?"
  }
}

variable "application_name" {
  type        = string
  description = "The name of the lease table, and the beginning of the names of KCL's other two."
  nullable    = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9_.-]{3,128})$", var.application_name))
    error_message = "must match [a-zA-Z0-9_.-]{3,128}"
  }
}

variable "quarantine_bucket_name" {
  type        = string
  description = "The quarantine is below quarantine/ in this bucket."
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9.-]{3,63})$", var.quarantine_bucket_name))
    error_message = "must match [a-z0-9.-]{3,63}"
  }
}

variable "archive_bucket_name" {
  type        = string
  description = "An archive is below archive/ in this bucket, which may be that of the quarantine."
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9.-]{3,63})$", var.archive_bucket_name))
    error_message = "must match [a-z0-9.-]{3,63}"
  }
}

module "stack" {
  source   = "../stack"
  name     = var.stack_name
  template = "existing.yaml"
  role_arn = var.stack_role_arn
  tags     = var.stack_tags

  parameters = {
    StreamArn            = var.stream_arn
    LimitsTableName      = var.limits_table_name
    LimitsTableStreamArn = var.limits_table_stream_arn
    ApplicationName      = var.application_name
    QuarantineBucketName = var.quarantine_bucket_name
    ArchiveBucketName    = var.archive_bucket_name
  }
}

output "stack_name" {
  value = module.stack.name
}

output "stream_name" {
  value = module.stack.outputs["StreamName"]
}

output "stream_arn" {
  value = module.stack.outputs["StreamArn"]
}

output "limits_table_name" {
  value = module.stack.outputs["LimitsTableName"]
}

output "limits_table_arn" {
  value = module.stack.outputs["LimitsTableArn"]
}

output "limits_table_stream_arn" {
  value = try(module.stack.outputs["LimitsTableStreamArn"], null)
}

output "application_name" {
  value = module.stack.outputs["ApplicationName"]
}

output "lease_table_arn" {
  value = module.stack.outputs["LeaseTableArn"]
}

output "worker_metric_stats_table_arn" {
  value = module.stack.outputs["WorkerMetricStatsTableArn"]
}

output "coordinator_state_table_arn" {
  value = module.stack.outputs["CoordinatorStateTableArn"]
}

output "quarantine_bucket_name" {
  value = module.stack.outputs["QuarantineBucketName"]
}

output "quarantine_bucket_arn" {
  value = module.stack.outputs["QuarantineBucketArn"]
}

output "quarantine" {
  value       = module.stack.outputs["Quarantine"]
  description = "For CONSUMER_QUARANTINE."
}

output "archive_bucket_name" {
  value = module.stack.outputs["ArchiveBucketName"]
}

output "archive_bucket_arn" {
  value = module.stack.outputs["ArchiveBucketArn"]
}

output "archive" {
  value       = module.stack.outputs["Archive"]
  description = "For CONSUMER_ARCHIVE."
}
