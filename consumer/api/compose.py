"""The HTTP API as the settings describe it, for `consumer serve` and for the Lambda function."""

from botocore.config import Config
from fastapi import FastAPI

from consumer import limit_readers
from consumer.api.app import Bounds, app
from consumer.api.callers import Authenticator, Everybody
from consumer.api.hosts import IsKnown, any_host, local_host, one_of
from consumer.api.metrics import ApiMetrics
from consumer.api.tokens import tokens
from consumer.monitoring.metrics import Sink
from consumer.settings import ApiSettings
from consumer.stores.aws import CLIENT

CONNECT_SECONDS = 1.0
"""The longest time for a connection to DynamoDB."""


def compose(settings: ApiSettings, also: Sink | None = None) -> FastAPI:
    """The application. It makes no request before its first one arrives. `also` receives what it counts too."""
    reader = limit_readers.limit_reader(settings, _client(settings))
    bounds = Bounds(settings.api_max_requests, settings.api_request_seconds)
    histories = limit_readers.histories_of_api(settings)
    return app(reader, _authenticator(settings), ApiMetrics(also), bounds, _hosts(settings), histories=histories)


def _client(settings: ApiSettings) -> Config:
    seconds = settings.api_dynamodb_seconds
    return CLIENT.merge(
        Config(
            connect_timeout=min(CONNECT_SECONDS, seconds),
            read_timeout=seconds,
            max_pool_connections=settings.api_max_requests,
        )
    )


def _hosts(settings: ApiSettings) -> IsKnown:
    if settings.api_hosts:
        return one_of(settings.api_hosts)
    return any_host if settings.api_issuer or settings.api_trusted_proxy else local_host


def _authenticator(settings: ApiSettings) -> Authenticator:
    if settings.api_issuer is None or settings.api_audience is None:  # the settings have both, or none
        return Everybody()
    return tokens(
        settings.api_issuer,
        settings.api_audience,
        jwks_url=settings.api_jwks_url,
        user_claim=settings.api_user_claim,
    )
