# A stack of one template in deploy/cloudformation. The modules beside this one, one for each template, use it.
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
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

variable "template_bucket" {
  type = string
}

variable "role_arn" {
  type = string
}

variable "tags" {
  type = map(string)
}

locals {
  file = "${path.module}/../../cloudformation/${var.template}"
  # CloudFormation takes 51,200 bytes in a request. Four characters of base64 are three bytes.
  large = length(filebase64(local.file)) / 4 * 3 > 51200
}

data "aws_s3_bucket" "template" {
  count  = local.large ? 1 : 0
  bucket = var.template_bucket

  lifecycle {
    precondition {
      condition     = var.template_bucket != null
      error_message = "${var.template} is larger than 51,200 bytes: set template_bucket to a bucket that it is uploaded to"
    }
  }
}

resource "aws_s3_object" "template" {
  count  = local.large ? 1 : 0
  bucket = var.template_bucket
  key    = "${var.name}/${filesha256(local.file)}.yaml"
  source = local.file
}

locals {
  uploaded = [
    for object in aws_s3_object.template :
    "https://${data.aws_s3_bucket.template[0].bucket_regional_domain_name}/${object.key}"
  ]
}

resource "aws_cloudformation_stack" "this" {
  name          = var.name
  template_body = local.large ? null : file(local.file)
  template_url  = one(local.uploaded)
  parameters    = var.parameters
  capabilities  = ["CAPABILITY_IAM"]
  iam_role_arn  = var.role_arn
  tags          = var.tags

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
