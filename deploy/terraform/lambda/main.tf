# Generated from deploy/cloudformation/lambda.yaml by `make docs`. Do not edit.

variable "stack_name" {
  type        = string
  description = "The name of the stack."
  default     = "limits-lambda"
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

variable "data_stack" {
  type        = string
  description = "The name of the stack of data.yaml or existing.yaml."
  default     = "limits-data"
  nullable    = false
}

variable "code_bucket" {
  type        = string
  description = "The bucket of the zip that `make lambda-zip` wrote. Ignored when ImageUri is set."
  default     = "none"
  nullable    = false
}

variable "code_key" {
  type        = string
  description = "The key of the zip. Use a new key for every version, or CloudFormation detects no change."
  default     = "lambda.zip"
  nullable    = false
}

variable "image_uri" {
  type        = string
  description = "The image of target `lambda`, with its digest, instead of the zip."
  default     = ""
  nullable    = false
}

variable "runtime" {
  type        = string
  description = "The runtime that the zip was packed for; an image has its own."
  default     = "python3.11"
  nullable    = false

  validation {
    condition     = can(regex("^(python3\\.[0-9]+)$", var.runtime))
    error_message = "must match python3\\.[0-9]+"
  }
}

variable "architecture" {
  type     = string
  default  = "x86_64"
  nullable = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "one of x86_64, arm64"
  }
}

variable "role_arn" {
  type        = string
  description = "The role of the function. If empty, the stack creates one."
  default     = ""
  nullable    = false
}

variable "permissions_boundary_arn" {
  type        = string
  description = "A policy that is the permissions boundary of the role that the stack creates."
  default     = ""
  nullable    = false
}

variable "key_arns" {
  type        = string
  description = "The customer managed keys of stream, tables and buckets, separated by commas. Keys that AWS manages need no entry."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((arn:aws[^:,]*:kms:[^:,]+:[0-9]+:key/[^:,]+,?)*)$", var.key_arns))
    error_message = "must match (arn:aws[^:,]*:kms:[^:,]+:[0-9]+:key/[^:,]+,?)*"
  }
}

variable "memory_mib" {
  type        = number
  description = "CPU is allocated in proportion to memory."
  default     = 512
  nullable    = false

  validation {
    condition     = var.memory_mib >= 256
    error_message = "at least 256"
  }

  validation {
    condition     = var.memory_mib <= 10240
    error_message = "at most 10240"
  }
}

variable "reserved_concurrency" {
  type        = number
  description = "At least shards times ParallelizationFactor, or some shards wait."
  default     = 10
  nullable    = false

  validation {
    condition     = var.reserved_concurrency >= 1
    error_message = "at least 1"
  }
}

variable "parallelization_factor" {
  type     = number
  default  = 1
  nullable = false

  validation {
    condition     = var.parallelization_factor >= 1
    error_message = "at least 1"
  }

  validation {
    condition     = var.parallelization_factor <= 10
    error_message = "at most 10"
  }
}

variable "batch_size" {
  type        = number
  description = "The most records of an invocation."
  default     = 1000
  nullable    = false

  validation {
    condition     = var.batch_size >= 1
    error_message = "at least 1"
  }

  validation {
    condition     = var.batch_size <= 10000
    error_message = "at most 10000"
  }
}

variable "batching_window_seconds" {
  type        = number
  description = "How long records may wait for others. An archive has an object per batch."
  default     = 1
  nullable    = false

  validation {
    condition     = var.batching_window_seconds >= 0
    error_message = "at least 0"
  }

  validation {
    condition     = var.batching_window_seconds <= 300
    error_message = "at most 300"
  }
}

variable "maximum_record_age_seconds" {
  type        = number
  description = "Half of the stream's retention. Older records go to the failure bucket before the stream drops them."
  default     = 302400
  nullable    = false

  validation {
    condition     = var.maximum_record_age_seconds >= 60
    error_message = "at least 60"
  }

  validation {
    condition     = var.maximum_record_age_seconds <= 604800
    error_message = "at most 604800"
  }
}

variable "archive" {
  type        = bool
  description = "Whether everything that is delivered is kept, in the archive bucket of the data stack."
  default     = false
  nullable    = false
}

variable "log_level" {
  type     = string
  default  = "INFO"
  nullable = false

  validation {
    condition     = contains(["DEBUG", "INFO", "WARNING", "ERROR"], var.log_level)
    error_message = "one of DEBUG, INFO, WARNING, ERROR"
  }
}

variable "projection" {
  type     = string
  default  = "limits"
  nullable = false
}

variable "record_cap_bytes" {
  type     = number
  default  = 262144
  nullable = false

  validation {
    condition     = var.record_cap_bytes >= 1
    error_message = "at least 1"
  }
}

variable "aggregate_records" {
  type     = number
  default  = 5000
  nullable = false

  validation {
    condition     = var.aggregate_records >= 1
    error_message = "at least 1"
  }
}

variable "max_sequence_number" {
  type     = number
  default  = 1000000000
  nullable = false

  validation {
    condition     = var.max_sequence_number >= 1
    error_message = "at least 1"
  }
}

variable "cache_limits" {
  type     = number
  default  = 10000
  nullable = false

  validation {
    condition     = var.cache_limits >= 0
    error_message = "at least 0"
  }
}

variable "breaker" {
  type     = number
  default  = 0
  nullable = false

  validation {
    condition     = var.breaker >= 0
    error_message = "at least 0"
  }
}

variable "iterator_age_alarm_millis" {
  type     = number
  default  = 300000
  nullable = false

  validation {
    condition     = var.iterator_age_alarm_millis >= 1
    error_message = "at least 1"
  }
}

variable "log_group_name" {
  type        = string
  description = "A log group that exists, for the function alone. If empty, the stack creates one."
  default     = ""
  nullable    = false
}

variable "log_retention_days" {
  type     = number
  default  = 30
  nullable = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_retention_days)
    error_message = "one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365"
  }
}

variable "alarm_topic_arn" {
  type        = string
  description = "An SNS topic for the alarms."
  default     = ""
  nullable    = false
}

module "stack" {
  source   = "../stack"
  name     = var.stack_name
  template = "lambda.yaml"
  role_arn = var.stack_role_arn
  tags     = var.stack_tags

  parameters = {
    DataStack               = var.data_stack
    CodeBucket              = var.code_bucket
    CodeKey                 = var.code_key
    ImageUri                = var.image_uri
    Runtime                 = var.runtime
    Architecture            = var.architecture
    RoleArn                 = var.role_arn
    PermissionsBoundaryArn  = var.permissions_boundary_arn
    KeyArns                 = var.key_arns
    MemoryMiB               = var.memory_mib
    ReservedConcurrency     = var.reserved_concurrency
    ParallelizationFactor   = var.parallelization_factor
    BatchSize               = var.batch_size
    BatchingWindowSeconds   = var.batching_window_seconds
    MaximumRecordAgeSeconds = var.maximum_record_age_seconds
    Archive                 = var.archive
    LogLevel                = var.log_level
    Projection              = var.projection
    RecordCapBytes          = var.record_cap_bytes
    AggregateRecords        = var.aggregate_records
    MaxSequenceNumber       = var.max_sequence_number
    CacheLimits             = var.cache_limits
    Breaker                 = var.breaker
    IteratorAgeAlarmMillis  = var.iterator_age_alarm_millis
    LogGroupName            = var.log_group_name
    LogRetentionDays        = var.log_retention_days
    AlarmTopicArn           = var.alarm_topic_arn
  }
}

output "stack_name" {
  value = module.stack.name
}

output "function_name" {
  value = module.stack.outputs["FunctionName"]
}

output "mapping_id" {
  value = module.stack.outputs["MappingId"]
}

output "failure_bucket_name" {
  value = module.stack.outputs["FailureBucketName"]
}

output "role_arn" {
  value = module.stack.outputs["RoleArn"]
}
