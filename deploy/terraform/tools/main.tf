# Generated from deploy/cloudformation/tools.yaml by `make docs`. Do not edit.

variable "stack_name" {
  type        = string
  description = "The name of the stack."
  default     = "limits-tools"
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

variable "operator_arn" {
  type        = string
  description = "Who may assume the roles, for example arn:aws:iam::111122223333:role/operators."
  nullable    = false

  validation {
    condition     = can(regex("^(arn:aws.+)$", var.operator_arn))
    error_message = "must match arn:aws.+"
  }
}

variable "stream_role_arn" {
  type        = string
  description = "A role of the owner of the stream, with which it is read by its ARN."
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

variable "permissions_boundary_arn" {
  type        = string
  description = "A policy that is the permissions boundary of the roles that the stack creates."
  default     = ""
  nullable    = false
}

module "stack" {
  source   = "../stack"
  name     = var.stack_name
  template = "tools.yaml"
  role_arn = var.stack_role_arn
  tags     = var.stack_tags

  parameters = {
    DataStack              = var.data_stack
    OperatorArn            = var.operator_arn
    StreamRoleArn          = var.stream_role_arn
    KeyArns                = var.key_arns
    PermissionsBoundaryArn = var.permissions_boundary_arn
  }
}

output "stack_name" {
  value = module.stack.name
}

output "reader_role_arn" {
  value = module.stack.outputs["ReaderRoleArn"]
}

output "replay_role_arn" {
  value = module.stack.outputs["ReplayRoleArn"]
}

output "rewind_role_arn" {
  value = module.stack.outputs["RewindRoleArn"]
}
