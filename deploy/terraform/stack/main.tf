# A stack of one template in deploy/cloudformation. The modules beside this one, one for each template, use it.
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.23"
    }
  }
}

variable "name" {
  type = string
}

variable "template" {
  type = string
}

variable "parameters" {
  type = map(string)
}

variable "role_arn" {
  type = string
}

variable "tags" {
  type = map(string)
}

resource "aws_cloudformation_stack" "this" {
  name          = var.name
  template_body = file("${path.module}/../../cloudformation/${var.template}")
  capabilities  = ["CAPABILITY_IAM"]
  iam_role_arn  = var.role_arn
  tags          = var.tags

  # The provider does not notice when a value becomes empty. What is left out has its default, and that is empty, too.
  parameters = { for name, value in var.parameters : name => value if value != "" }

  # A deployment of a service is watched for 10 minutes, and one that fails is rolled back.
  timeouts {
    create = "60m"
    update = "60m"
    delete = "60m"
  }
}

output "name" {
  value = aws_cloudformation_stack.this.name
}

output "outputs" {
  value = aws_cloudformation_stack.this.outputs
}
