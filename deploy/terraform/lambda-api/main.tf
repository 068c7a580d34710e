# Generated from deploy/cloudformation/lambda-api.yaml by `make docs`. Do not edit.

variable "stack_name" {
  type        = string
  description = "The name of the stack."
  default     = "limits-lambda-api"
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
  description = "The bucket of the zip that `make lambda-api-zip` wrote."
  nullable    = false
}

variable "code_key" {
  type        = string
  description = "The key of the zip. Use a new key for every version, or CloudFormation detects no change."
  default     = "limits-api.zip"
  nullable    = false
}

variable "runtime" {
  type        = string
  description = "The runtime that the zip was packed for."
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

variable "front" {
  type        = string
  description = "FunctionUrl - IAM authenticates every request, and whoever may call it may read every limit. HttpApi - the function checks access tokens of Issuer."
  default     = "FunctionUrl"
  nullable    = false

  validation {
    condition     = contains(["FunctionUrl", "HttpApi"], var.front)
    error_message = "one of FunctionUrl, HttpApi"
  }
}

variable "caller_arn" {
  type        = string
  description = "Only for FunctionUrl - a role, user or account that may call it. Roles of this account need no entry here if their own policy allows it."
  default     = ""
  nullable    = false
}

variable "issuer" {
  type        = string
  description = "Only for HttpApi - the OpenID Connect issuer of the access tokens."
  default     = ""
  nullable    = false
}

variable "audience" {
  type        = string
  description = "Only for HttpApi - the audience of the access tokens."
  default     = ""
  nullable    = false
}

variable "jwks_url" {
  type        = string
  description = "Only for HttpApi - the address of the issuer's keys, if its configuration does not name it."
  default     = ""
  nullable    = false
}

variable "user_claim" {
  type        = string
  description = "Only for HttpApi - the claim of a token that is the user id of its owner."
  default     = "sub"
  nullable    = false
}

variable "requests_per_second" {
  type        = number
  description = "Only for HttpApi - further requests get 429. They cost nothing."
  default     = 100
  nullable    = false

  validation {
    condition     = var.requests_per_second >= 1
    error_message = "at least 1"
  }
}

variable "archive" {
  type        = bool
  description = "Whether the API answers with histories of limits, from the archive bucket of the data stack."
  default     = false
  nullable    = false
}

variable "memory_mib" {
  type        = number
  description = "CPU is allocated in proportion to memory, and a cold start needs CPU."
  default     = 1024
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
  description = "How many requests are served at the same time. It protects the account's other functions."
  default     = 20
  nullable    = false

  validation {
    condition     = var.reserved_concurrency >= 1
    error_message = "at least 1"
  }
}

variable "slow_millis" {
  type        = number
  description = "The duration at the 99th percentile above which requests count as slow."
  default     = 3000
  nullable    = false

  validation {
    condition     = var.slow_millis >= 1
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
  type        = number
  description = "The log contains who read whose limits."
  default     = 90
  nullable    = false

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
  template = "lambda-api.yaml"
  role_arn = var.stack_role_arn
  tags     = var.stack_tags

  parameters = {
    DataStack              = var.data_stack
    CodeBucket             = var.code_bucket
    CodeKey                = var.code_key
    Runtime                = var.runtime
    Architecture           = var.architecture
    Front                  = var.front
    CallerArn              = var.caller_arn
    Issuer                 = var.issuer
    Audience               = var.audience
    JwksUrl                = var.jwks_url
    UserClaim              = var.user_claim
    RequestsPerSecond      = var.requests_per_second
    Archive                = var.archive
    MemoryMiB              = var.memory_mib
    ReservedConcurrency    = var.reserved_concurrency
    SlowMillis             = var.slow_millis
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

output "role_arn" {
  value = module.stack.outputs["RoleArn"]
}

output "log_group" {
  value = module.stack.outputs["LogGroup"]
}

output "url" {
  value       = module.stack.outputs["Url"]
  description = "The address of the API. That of a function URL ends with a slash."
}
