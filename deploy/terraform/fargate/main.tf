# Generated from deploy/cloudformation/fargate.yaml by `make docs`. Do not edit.

variable "stack_name" {
  type        = string
  description = "The name of the stack."
  default     = "limits-fargate"
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
  description = "The digest of the image of target `consumer`. A digest, because a tag can move to another image."
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

variable "environment_file" {
  type        = string
  description = "The ARN of an object in S3 with settings, a line NAME=VALUE for each. Variables that this template sets have priority. Use a new key for every change, or CloudFormation detects none."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((arn:aws[^:]*:s3:::[^/]+/.+\\.env)?)$", var.environment_file))
    error_message = "must match (arn:aws[^:]*:s3:::[^/]+/.+\\.env)?"
  }
}

variable "cluster_name" {
  type        = string
  description = "A cluster that exists. If empty, the stack creates one."
  default     = ""
  nullable    = false
}

variable "capacity_provider" {
  type        = string
  description = "A capacity provider of the cluster. If empty, the tasks have the launch type FARGATE."
  default     = ""
  nullable    = false

  validation {
    condition     = contains(["", "FARGATE", "FARGATE_SPOT"], var.capacity_provider)
    error_message = "one of , FARGATE, FARGATE_SPOT"
  }
}

variable "task_role_arn" {
  type        = string
  description = "The role of the service's tasks. If empty, the stack creates one."
  default     = ""
  nullable    = false
}

variable "execution_role_arn" {
  type        = string
  description = "The role with which ECS starts tasks. If empty, the stack creates one."
  default     = ""
  nullable    = false
}

variable "permissions_boundary_arn" {
  type        = string
  description = "A policy that is the permissions boundary of the roles that the stack creates."
  default     = ""
  nullable    = false
}

variable "stream_by_arn" {
  type        = bool
  description = "Whether the stream is read by its ARN, as one in another account or region must be."
  default     = false
  nullable    = false
}

variable "stream_role_arn" {
  type        = string
  description = "A role of the owner of the stream, with which it is read by its ARN."
  default     = ""
  nullable    = false
}

variable "key_arns" {
  type        = string
  description = "The customer managed keys of stream, tables, buckets and secrets, separated by commas. Keys that AWS manages need no entry."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((arn:aws[^:,]*:kms:[^:,]+:[0-9]+:key/[^:,]+,?)*)$", var.key_arns))
    error_message = "must match (arn:aws[^:,]*:kms:[^:,]+:[0-9]+:key/[^:,]+,?)*"
  }
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
  description = "An additional security group for the tasks, for example one that VPC endpoints allow. It must have no ingress rules."
  default     = ""
  nullable    = false
}

variable "metrics_security_group" {
  type        = string
  description = "The security group of Prometheus. Nothing else can reach the tasks; if it is empty, nothing can."
  default     = ""
  nullable    = false
}

variable "namespace_id" {
  type        = string
  description = "A private DNS namespace of Cloud Map, in which the tasks get a name. If empty, they get none."
  default     = ""
  nullable    = false
}

variable "discovery_name" {
  type        = string
  description = "The name of the tasks in the namespace."
  default     = "limits-consumer"
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

variable "cpu" {
  type     = string
  default  = "512"
  nullable = false

  validation {
    condition     = contains(["256", "512", "1024", "2048", "4096"], var.cpu)
    error_message = "one of 256, 512, 1024, 2048, 4096"
  }
}

variable "memory" {
  type        = string
  description = "MiB. 512 are enough for one or two shards per task, 1024 for four (docs/how-to/operate.md, Scaling)."
  default     = "1024"
  nullable    = false

  validation {
    condition     = contains(["512", "1024", "2048", "3072", "4096", "8192"], var.memory)
    error_message = "one of 512, 1024, 2048, 3072, 4096, 8192"
  }
}

variable "min_tasks" {
  type     = number
  default  = 2
  nullable = false

  validation {
    condition     = var.min_tasks >= 0
    error_message = "at least 0"
  }
}

variable "max_tasks" {
  type        = number
  description = "Tasks in excess of the number of shards are idle."
  default     = 4
  nullable    = false

  validation {
    condition     = var.max_tasks >= 0
    error_message = "at least 0"
  }
}

variable "retrieval_mode" {
  type     = string
  default  = "polling"
  nullable = false

  validation {
    condition     = contains(["polling", "fanout"], var.retrieval_mode)
    error_message = "one of polling, fanout"
  }
}

variable "kcl_metrics_level" {
  type        = string
  description = "KCL's own metrics in CloudWatch, which are billed. Prometheus collects the service's metrics."
  default     = "NONE"
  nullable    = false

  validation {
    condition     = contains(["NONE", "SUMMARY", "DETAILED"], var.kcl_metrics_level)
    error_message = "one of NONE, SUMMARY, DETAILED"
  }
}

variable "emf_seconds" {
  type        = number
  description = "How often a task logs its metrics for monitoring.yaml, whose alarms need 60. They are billed. 0 for never."
  default     = 60
  nullable    = false

  validation {
    condition     = var.emf_seconds >= 0
    error_message = "at least 0"
  }
}

variable "archive" {
  type        = bool
  description = "Whether everything that is delivered is kept, in the archive bucket of the data stack."
  default     = false
  nullable    = false
}

variable "stop_timeout_seconds" {
  type        = number
  description = "When a stopping task is killed. Must be greater than CONSUMER_SHUTDOWN_GRACE_SECONDS, or the service does not start."
  default     = 30
  nullable    = false

  validation {
    condition     = var.stop_timeout_seconds >= 20
    error_message = "at least 20"
  }

  validation {
    condition     = var.stop_timeout_seconds <= 120
    error_message = "at most 120"
  }
}

variable "lag_scale_seconds" {
  type        = number
  description = "When a shard is behind by more than this for three minutes, another task is started; two at ten times as much. It needs EmfSeconds."
  default     = 60
  nullable    = false

  validation {
    condition     = var.lag_scale_seconds >= 1
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

variable "roll_back_on_alarms" {
  type        = bool
  description = "Whether a deployment is rolled back when an alarm for deployments is raised. The first deployment cannot be rolled back; use \"false\" for it when the stream may contain many wrong records."
  default     = true
  nullable    = false
}

variable "log_group_name" {
  type        = string
  description = "A log group that exists, for the service alone. If empty, the stack creates one."
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
  description = "An SNS topic for the alarms. None if monitoring.yaml has it, whose alarms include these."
  default     = ""
  nullable    = false
}

variable "api_tasks" {
  type        = number
  description = "Tasks that serve the HTTP API, behind an internal load balancer. 0 for none. The other Api parameters need it."
  default     = 0
  nullable    = false

  validation {
    condition     = var.api_tasks >= 0
    error_message = "at least 0"
  }
}

variable "api_issuer" {
  type        = string
  description = "The OpenID Connect issuer of the access tokens. The tasks must reach it on port 443."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((https://.+)?)$", var.api_issuer))
    error_message = "must match (https://.+)?"
  }
}

variable "api_audience" {
  type        = string
  description = "The audience of the access tokens."
  default     = ""
  nullable    = false
}

variable "api_certificate_arn" {
  type        = string
  description = "The certificate of the load balancer, in ACM. Tokens and limits are not sent in the clear."
  default     = ""
  nullable    = false
}

variable "api_clients_security_group" {
  type        = string
  description = "The security group of the clients. Nothing else can reach the load balancer."
  default     = ""
  nullable    = false
}

variable "api_pages_client_id" {
  type        = string
  description = "The client of ApiIssuer as which people sign in. Empty for no pages. The other ApiPages parameters need it."
  default     = ""
  nullable    = false
}

variable "api_pages_url" {
  type        = string
  description = "The address at which browsers reach the pages."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((https://.+)?)$", var.api_pages_url))
    error_message = "must match (https://.+)?"
  }
}

variable "api_pages_session_key_arn" {
  type        = string
  description = "A secret in Secrets Manager, or a parameter in Systems Manager, whose text is the key of the sessions."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((arn:aws[^:]*:(secretsmanager|ssm)(:[^:]+){3,4})?)$", var.api_pages_session_key_arn))
    error_message = "must match (arn:aws[^:]*:(secretsmanager|ssm)(:[^:]+){3,4})?"
  }
}

variable "api_pages_client_secret_arn" {
  type        = string
  description = "The same, of the client's secret. Empty for a public client."
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^((arn:aws[^:]*:(secretsmanager|ssm)(:[^:]+){3,4})?)$", var.api_pages_client_secret_arn))
    error_message = "must match (arn:aws[^:]*:(secretsmanager|ssm)(:[^:]+){3,4})?"
  }
}

variable "api_pages_metrics_urls" {
  type        = string
  description = "The workers' http://HOST:9464/metrics, separated by commas, for charts."
  default     = ""
  nullable    = false
}

module "stack" {
  source   = "../stack"
  name     = var.stack_name
  template = "fargate.yaml"
  role_arn = var.stack_role_arn
  tags     = var.stack_tags

  parameters = {
    DataStack               = var.data_stack
    Repository              = var.repository
    ImageDigest             = var.image_digest
    ImageUri                = var.image_uri
    EnvironmentFile         = var.environment_file
    ClusterName             = var.cluster_name
    CapacityProvider        = var.capacity_provider
    TaskRoleArn             = var.task_role_arn
    ExecutionRoleArn        = var.execution_role_arn
    PermissionsBoundaryArn  = var.permissions_boundary_arn
    StreamByArn             = var.stream_by_arn
    StreamRoleArn           = var.stream_role_arn
    KeyArns                 = var.key_arns
    VpcId                   = var.vpc_id
    PrivateSubnets          = join(",", var.private_subnets)
    SecurityGroup           = var.security_group
    MetricsSecurityGroup    = var.metrics_security_group
    NamespaceId             = var.namespace_id
    DiscoveryName           = var.discovery_name
    Architecture            = var.architecture
    Cpu                     = var.cpu
    Memory                  = var.memory
    MinTasks                = var.min_tasks
    MaxTasks                = var.max_tasks
    RetrievalMode           = var.retrieval_mode
    KclMetricsLevel         = var.kcl_metrics_level
    EmfSeconds              = var.emf_seconds
    Archive                 = var.archive
    StopTimeoutSeconds      = var.stop_timeout_seconds
    LagScaleSeconds         = var.lag_scale_seconds
    QuarantineFloodRecords  = var.quarantine_flood_records
    RollBackOnAlarms        = var.roll_back_on_alarms
    LogGroupName            = var.log_group_name
    LogRetentionDays        = var.log_retention_days
    AlarmTopicArn           = var.alarm_topic_arn
    ApiTasks                = var.api_tasks
    ApiIssuer               = var.api_issuer
    ApiAudience             = var.api_audience
    ApiCertificateArn       = var.api_certificate_arn
    ApiClientsSecurityGroup = var.api_clients_security_group
    ApiPagesClientId        = var.api_pages_client_id
    ApiPagesUrl             = var.api_pages_url
    ApiPagesSessionKeyArn   = var.api_pages_session_key_arn
    ApiPagesClientSecretArn = var.api_pages_client_secret_arn
    ApiPagesMetricsUrls     = var.api_pages_metrics_urls
  }
}

output "stack_name" {
  value = module.stack.name
}

output "cluster" {
  value = module.stack.outputs["Cluster"]
}

output "service" {
  value = module.stack.outputs["Service"]
}

output "task_role_arn" {
  value = module.stack.outputs["TaskRoleArn"]
}

output "task_security_group" {
  value       = module.stack.outputs["TaskSecurityGroup"]
  description = "For the security groups of VPC endpoints, to allow the tasks."
}

output "log_group" {
  value = module.stack.outputs["LogGroup"]
}

output "api_address" {
  value       = try(module.stack.outputs["ApiAddress"], null)
  description = "The name of the load balancer. Give it a name that its certificate has."
}

output "api_service" {
  value = try(module.stack.outputs["ApiService"], null)
}

output "api_load_balancer_name" {
  value       = try(module.stack.outputs["ApiLoadBalancerName"], null)
  description = "For monitoring.yaml."
}

output "api_target_group_name" {
  value       = try(module.stack.outputs["ApiTargetGroupName"], null)
  description = "For monitoring.yaml."
}

output "api_task_role_arn" {
  value = try(module.stack.outputs["ApiTaskRoleArn"], null)
}

output "api_task_security_group" {
  value       = try(module.stack.outputs["ApiTaskSecurityGroup"], null)
  description = "For the security groups of VPC endpoints, to allow the tasks of the API."
}

output "api_log_group" {
  value = try(module.stack.outputs["ApiLogGroup"], null)
}
