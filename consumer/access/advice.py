"""Advice on AWS errors: what to do about each cause."""

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from consumer.settings import variable
from consumer.stores.requests import THROTTLES

CREDENTIALS = "give boto3 credentials: environment, profile or task role"
_RENEW = "renew the credentials: their session has expired"
_INVALID = "check the access key, AWS_REGION and the clock: AWS does not accept these credentials"
_REGION = "set AWS_REGION to the region of the resource"
_NETWORK = "check AWS_REGION, the AWS_ENDPOINT_URL variables and the network: the endpoint does not answer"
_LATER = "try again later: AWS throttles or fails"
_ASSUME = (
    f"allow sts:AssumeRole on {variable('stream_role_arn')} to the role that runs this, and name it in the trust policy"
)

_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.ProfileNotFound,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
_UNREACHABLE = (exceptions.ConnectionError, exceptions.HTTPClientError)
DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "KMSAccessDeniedException", "403", "Forbidden"}
)
_BY_CODE = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"), _RENEW),
    **dict.fromkeys(
        (
            *("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "InvalidToken"),
            *("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "RequestTimeTooSkewed"),
            *("MissingAuthenticationToken", "MissingAuthenticationTokenException"),
        ),
        _INVALID,
    ),
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"), _REGION
    ),
    **dict.fromkeys((*THROTTLES, "InternalServerError", "InternalFailure", "ServiceUnavailable", "500", "503"), _LATER),
}
_SERVICES = {
    **dict.fromkeys(("DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards"), "kinesis"),
    "PutObject": "s3",
    "AssumeRole": "sts",
}
MISSING = frozenset({"ResourceNotFoundException", "NoSuchBucket", "404"})


_TEMPORARY = frozenset(code for code, advice in _BY_CODE.items() if advice is _LATER)


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown error"))


def action_of(error: ClientError) -> str:
    """The IAM action of the refused request."""
    operation = error.operation_name
    return f"{_SERVICES.get(operation, 'dynamodb')}:{operation}"


def is_certain(error: ClientError) -> bool:
    """Whether the request fails until somebody acts: it is denied, or what it names does not exist."""
    code = code_of(error)
    return code in DENIED or code in MISSING or (code in _BY_CODE and code not in _TEMPORARY)


def advise(error: ClientError | BotoCoreError, *, resource: str, missing: str) -> str:
    """`resource`: what the request was for. `missing`: the advice if it does not exist."""
    if isinstance(error, ClientError):
        return _of_code(code_of(error), action_of(error), resource, missing)
    if isinstance(error, _NO_CREDENTIALS):
        return CREDENTIALS
    return _NETWORK if isinstance(error, _UNREACHABLE) else "see the message"


def _of_code(code: str, action: str, resource: str, missing: str) -> str:
    if code in DENIED:
        return _ASSUME if action == "sts:AssumeRole" else allow(action, resource)
    if code in MISSING:
        return missing
    return _BY_CODE.get(code, f"see the message, the response of AWS to {action} on {resource}")


def allow(actions: str, resource: str) -> str:
    return f"allow {actions} on {resource} to the role that runs this"
