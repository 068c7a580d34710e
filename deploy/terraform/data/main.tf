# Generated from deploy/cloudformation/data.yaml by `make docs`. Do not edit.

variable "stack_name" {
  type        = string
  description = "The name of the stack."
  default     = "limits-data"
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

variable "stream_name" {
  type     = string
  default  = "limit-events"
  nullable = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9_.-]{1,128})$", var.stream_name))
    error_message = "must match [a-zA-Z0-9_.-]{1,128}"
  }
}

variable "stream_arn" {
  type        = string
  description = "A stream that exists. It is only read, and StreamName, Shards and RetentionHours have no effect."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((arn:aws[^:]*:kinesis:[^:]+:[0-9]+:stream/[a-zA-Z0-9_.-]{1,128})?)$", var.stream_arn))
    error_message = "must match (arn:aws[^:]*:kinesis:[^:]+:[0-9]+:stream/[a-zA-Z0-9_.-]{1,128})?"
  }
}

variable "shards" {
  type        = number
  description = "The number of shards. With 0, AWS chooses and changes it (on-demand)."
  default     = 0
  nullable    = false

  validation {
    condition     = var.shards >= 0
    error_message = "at least 0"
  }
}

variable "retention_hours" {
  type        = number
  description = "How long an event can be read again. An outage must be over before this time."
  default     = 168
  nullable    = false

  validation {
    condition     = var.retention_hours >= 24
    error_message = "at least 24"
  }

  validation {
    condition     = var.retention_hours <= 8760
    error_message = "at most 8760"
  }
}

variable "limits_table_name" {
  type     = string
  default  = "user-limits"
  nullable = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9_.-]{3,255})$", var.limits_table_name))
    error_message = "must match [a-zA-Z0-9_.-]{3,255}"
  }
}

variable "partition_key" {
  type        = string
  description = "The first of the key_names of CONSUMER_PROJECTION."
  default     = "userId"
  nullable    = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9_.-]{1,255})$", var.partition_key))
    error_message = "must match [a-zA-Z0-9_.-]{1,255}"
  }
}

variable "sort_key" {
  type        = string
  description = "The second of the key_names of CONSUMER_PROJECTION."
  default     = "userLimitId"
  nullable    = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9_.-]{1,255})$", var.sort_key))
    error_message = "must match [a-zA-Z0-9_.-]{1,255}"
  }
}

variable "limits_table_stream" {
  type        = bool
  description = "Whether the limits table has a stream, which notices.yaml needs."
  default     = false
  nullable    = false
}

variable "application_name" {
  type        = string
  description = "The name of KCL's tables. Another name reads the stream again, from its first event."
  default     = "limits-consumer"
  nullable    = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9_.-]{3,128})$", var.application_name))
    error_message = "must match [a-zA-Z0-9_.-]{3,128}"
  }
}

variable "noncurrent_days" {
  type        = number
  description = "How long a dropped or overwritten object of quarantine and archive can be restored. Others never expire."
  default     = 90
  nullable    = false

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "at least 1"
  }
}

module "stack" {
  source   = "../stack"
  name     = var.stack_name
  template = "data.yaml"
  role_arn = var.stack_role_arn
  tags     = var.stack_tags

  parameters = {
    StreamName        = var.stream_name
    StreamArn         = var.stream_arn
    Shards            = var.shards
    RetentionHours    = var.retention_hours
    LimitsTableName   = var.limits_table_name
    PartitionKey      = var.partition_key
    SortKey           = var.sort_key
    LimitsTableStream = var.limits_table_stream
    ApplicationName   = var.application_name
    NoncurrentDays    = var.noncurrent_days
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

output "retention_hours" {
  value = module.stack.outputs["RetentionHours"]
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
