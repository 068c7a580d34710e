# Generated from deploy/cloudformation/monitoring.yaml by `make docs`. Do not edit.

variable "stack_name" {
  type        = string
  description = "The name of the stack."
  default     = "limits-monitoring"
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

variable "application_name" {
  type        = string
  description = "CONSUMER_APPLICATION_NAME of the workers."
  default     = "limits-consumer"
  nullable    = false
}

variable "stream_name" {
  type     = string
  default  = "limit-events"
  nullable = false
}

variable "limits_table_name" {
  type     = string
  default  = "user-limits"
  nullable = false
}

variable "log_group" {
  type        = string
  description = "The log group of the workers."
  nullable    = false
}

variable "alarm_topic_arn" {
  type        = string
  description = "An SNS topic for the alarms."
  default     = ""
  nullable    = false
}

variable "min_workers" {
  type        = number
  description = "How many workers should run at any time."
  default     = 2
  nullable    = false

  validation {
    condition     = var.min_workers >= 1
    error_message = "at least 1"
  }
}

variable "lag_alarm_seconds" {
  type        = number
  description = "A shard that is behind by more than this for 15 minutes raises an alarm."
  default     = 300
  nullable    = false

  validation {
    condition     = var.lag_alarm_seconds >= 1
    error_message = "at least 1"
  }
}

variable "quarantine_flood_records" {
  type        = number
  description = "More quarantined records than this within 5 minutes are a flood."
  default     = 100
  nullable    = false

  validation {
    condition     = var.quarantine_flood_records >= 1
    error_message = "at least 1"
  }
}

variable "worker_starts_alarm_count" {
  type        = number
  description = "More starts of workers than this within half an hour raise an alarm. At least three times the workers."
  default     = 12
  nullable    = false

  validation {
    condition     = var.worker_starts_alarm_count >= 1
    error_message = "at least 1"
  }
}

variable "cluster" {
  type        = string
  description = "The ECS cluster of the workers, for the alarm on their memory. Empty for none."
  default     = ""
  nullable    = false
}

variable "service" {
  type        = string
  description = "The ECS service of the workers."
  default     = ""
  nullable    = false
}

variable "api_load_balancer" {
  type        = string
  description = "The full name of the load balancer of the HTTP API (app/NAME/ID), for its alarms. Empty for none."
  default     = ""
  nullable    = false
}

variable "api_target_group" {
  type        = string
  description = "The full name of its target group (targetgroup/NAME/ID)."
  default     = ""
  nullable    = false
}

variable "api_errors_alarm_count" {
  type        = number
  description = "More answers with a status of 500 or above than this, in each of 5 minutes, raise an alarm."
  default     = 10
  nullable    = false

  validation {
    condition     = var.api_errors_alarm_count >= 1
    error_message = "at least 1"
  }
}

module "stack" {
  source   = "../stack"
  name     = var.stack_name
  template = "monitoring.yaml"
  role_arn = var.stack_role_arn
  tags     = var.stack_tags

  parameters = {
    ApplicationName        = var.application_name
    StreamName             = var.stream_name
    LimitsTableName        = var.limits_table_name
    LogGroup               = var.log_group
    AlarmTopicArn          = var.alarm_topic_arn
    MinWorkers             = var.min_workers
    LagAlarmSeconds        = var.lag_alarm_seconds
    QuarantineFloodRecords = var.quarantine_flood_records
    WorkerStartsAlarmCount = var.worker_starts_alarm_count
    Cluster                = var.cluster
    Service                = var.service
    ApiLoadBalancer        = var.api_load_balancer
    ApiTargetGroup         = var.api_target_group
    ApiErrorsAlarmCount    = var.api_errors_alarm_count
  }
}

output "stack_name" {
  value = module.stack.name
}

output "dashboard" {
  value = module.stack.outputs["Dashboard"]
}
