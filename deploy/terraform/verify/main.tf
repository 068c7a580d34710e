# Generated from deploy/cloudformation/verify.yaml by `make docs`. Do not edit.

variable "stack_name" {
  type        = string
  description = "The name of the stack."
  default     = "limits-verify"
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

variable "repository" {
  type        = string
  description = "The ECR repository of this account and region."
  default     = "limits-consumer"
  nullable    = false
}

variable "image_digest" {
  type        = string
  description = "The digest of the image of target `consumer`."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((sha256:[0-9a-f]{64})?)$", var.image_digest))
    error_message = "must match (sha256:[0-9a-f]{64})?"
  }
}

variable "image_uri" {
  type        = string
  description = "The image in another registry, account or region, instead of Repository and ImageDigest. If pulling it needs permissions, ExecutionRoleArn must have them."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((.+@sha256:[0-9a-f]{64})?)$", var.image_uri))
    error_message = "must match (.+@sha256:[0-9a-f]{64})?"
  }
}

variable "cluster_name" {
  type        = string
  description = "A cluster that exists. If empty, the stack creates one."
  default     = ""
  nullable    = false
}

variable "execution_role_arn" {
  type        = string
  description = "The role with which ECS starts the task. If empty, the stack creates one."
  default     = ""
  nullable    = false
}

variable "vpc_id" {
  type     = string
  nullable = false
}

variable "private_subnets" {
  type     = list(string)
  nullable = false
}

variable "security_group" {
  type        = string
  description = "An additional security group for the task, for example one that VPC endpoints allow. It must have no ingress rules."
  default     = ""
  nullable    = false
}

variable "architecture" {
  type     = string
  default  = "X86_64"
  nullable = false

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "one of X86_64, ARM64"
  }
}

variable "schedule" {
  type        = string
  description = "When it runs, in UTC. The alarm for a missing verification expects one a day."
  default     = "cron(0 3 * * ? *)"
  nullable    = false
}

variable "since" {
  type        = string
  description = "How far it goes back, for example 36h; then only missing effects are found. Empty - the whole archive and table."
  default     = ""
  nullable    = false
}

variable "cpu" {
  type        = string
  description = "Units of CPU. 1024 are a core, and the archive is read by one process per core."
  default     = "1024"
  nullable    = false

  validation {
    condition     = contains(["1024", "2048", "4096", "8192"], var.cpu)
    error_message = "one of 1024, 2048, 4096, 8192"
  }
}

variable "memory" {
  type        = string
  description = "MiB, 2 GiB or more per core, as far as Fargate allows it with the CPU."
  default     = "4096"
  nullable    = false
}

variable "disk_gib" {
  type        = number
  description = "For limits that are sorted on disk, 1 KB for each."
  default     = 21
  nullable    = false

  validation {
    condition     = var.disk_gib >= 21
    error_message = "at least 21"
  }

  validation {
    condition     = var.disk_gib <= 200
    error_message = "at most 200"
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
  template = "verify.yaml"
  role_arn = var.stack_role_arn
  tags     = var.stack_tags

  parameters = {
    DataStack              = var.data_stack
    Repository             = var.repository
    ImageDigest            = var.image_digest
    ImageUri               = var.image_uri
    ClusterName            = var.cluster_name
    ExecutionRoleArn       = var.execution_role_arn
    VpcId                  = var.vpc_id
    PrivateSubnets         = join(",", var.private_subnets)
    SecurityGroup          = var.security_group
    Architecture           = var.architecture
    Schedule               = var.schedule
    Since                  = var.since
    Cpu                    = var.cpu
    Memory                 = var.memory
    DiskGiB                = var.disk_gib
    KeyArns                = var.key_arns
    PermissionsBoundaryArn = var.permissions_boundary_arn
    LogRetentionDays       = var.log_retention_days
    AlarmTopicArn          = var.alarm_topic_arn
  }
}

output "stack_name" {
  value = module.stack.name
}

output "cluster" {
  value = module.stack.outputs["Cluster"]
}

output "task_definition" {
  value = module.stack.outputs["TaskDefinition"]
}

output "task_role_arn" {
  value = module.stack.outputs["TaskRoleArn"]
}

output "task_security_group" {
  value       = module.stack.outputs["TaskSecurityGroup"]
  description = "For the security groups of VPC endpoints, to allow the task."
}

output "log_group" {
  value = module.stack.outputs["LogGroup"]
}
