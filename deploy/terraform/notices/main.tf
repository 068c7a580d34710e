# Generated from deploy/cloudformation/notices.yaml by `make docs`. Do not edit.

variable "stack_name" {
  type        = string
  description = "The name of the stack."
  default     = "limits-notices"
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

variable "thresholds" {
  type        = string
  description = "Percentages of a limit's value at which a notice is sent."
  default     = "80,100"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]{1,4}(,[0-9]{1,4})*)$", var.thresholds))
    error_message = "must match [0-9]{1,4}(,[0-9]{1,4})*"
  }
}

variable "event_bus_name" {
  type        = string
  description = "The event bus of this account and region that gets the notices."
  default     = "default"
  nullable    = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9._/-]{1,256})$", var.event_bus_name))
    error_message = "must match [a-zA-Z0-9._/-]{1,256}"
  }
}

variable "example_queue" {
  type        = bool
  description = "Whether to create the example - a rule that sends the notices of reached limits to a queue."
  default     = false
  nullable    = false
}

variable "reserved_concurrency" {
  type        = number
  description = "At least the number of the stream's shards, or some of them wait."
  default     = 10
  nullable    = false

  validation {
    condition     = var.reserved_concurrency >= 1
    error_message = "at least 1"
  }
}

variable "late_alarm_millis" {
  type        = number
  description = "The age of a change of a limit at which its notice counts as late."
  default     = 300000
  nullable    = false

  validation {
    condition     = var.late_alarm_millis >= 1
    error_message = "at least 1"
  }
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

variable "permissions_boundary_arn" {
  type        = string
  description = "A policy that is the permissions boundary of the roles that the stack creates."
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
  template = "notices.yaml"
  role_arn = var.stack_role_arn
  tags     = var.stack_tags

  parameters = {
    DataStack              = var.data_stack
    CodeBucket             = var.code_bucket
    CodeKey                = var.code_key
    ImageUri               = var.image_uri
    Runtime                = var.runtime
    Architecture           = var.architecture
    Thresholds             = var.thresholds
    EventBusName           = var.event_bus_name
    ExampleQueue           = var.example_queue
    ReservedConcurrency    = var.reserved_concurrency
    LateAlarmMillis        = var.late_alarm_millis
    KeyArns                = var.key_arns
    PermissionsBoundaryArn = var.permissions_boundary_arn
    LogRetentionDays       = var.log_retention_days
    AlarmTopicArn          = var.alarm_topic_arn
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

output "queue_url" {
  value = try(module.stack.outputs["QueueUrl"], null)
}
