"""`consumer serve`, the real command on an emulator: the page of the consumer, its quarantine in S3, an outage."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from tests.support.driven.service import Service, consumer, environment, serving
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator, session
from tests.support.faults.proxy import ACCESS_DENIED, fault_proxy
from tests.support.simulation.consumer_page import Document

BUCKET = "consumer-page-quarantine"
BAD = '{"type": null, "text": "<b>bold</b>"}'


def page(running: Service, path: str = "/consumer") -> Document:
    status, body = running.get(path)
    assert status == HTTPStatus.OK, body
    return Document(body)


def quarantine(variables: Mapping[str, str], tmp_path: Path) -> None:
    """Quarantines a record, as the function would."""
    s3 = session().client("s3", endpoint_url=variables["AWS_ENDPOINT_URL"])
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    file = tmp_path / "events.json"
    file.write_text(BAD)
    consumer(variables, "lambda-invoke", str(file))


def test_it_shows_what_is_there_and_what_is_away(aws: Emulator, tmp_path: Path) -> None:
    with fault_proxy(aws.endpoint) as proxy:
        variables = {
            **environment("page", tmp_path, AWS_ENDPOINT_URL=aws.endpoint),
            "CONSUMER_QUARANTINE": f"s3://{BUCKET}/kept",
        }
        consumer(variables, "provision", "--stream", "2")
        quarantine(variables, tmp_path)
        with serving(variables, tmp_path / "serve", AWS_ENDPOINT_URL_DYNAMODB=proxy.endpoint) as running:
            found = page(running)
            assert "2 of 2 shards have problems" in found.words("p")
            assert sum("no owner" in row for row in found.words("tr")) == 2
            assert f"1 records in s3://{BUCKET}/kept" in found.words("p")
            records = page(running, "/consumer/quarantine?reason=SCHEMA")
            assert records.words("pre") == [BAD]
            (position,) = records.words("h3")
            assert json.loads(consumer(variables, "quarantine", "show", position, "--json"))["position"] == position
            with proxy.fault(ACCESS_DENIED):
                until(lambda: "The status cannot be shown." in page(running).words("strong"), "the outage to be shown")
                assert f"1 records in s3://{BUCKET}/kept" in page(running).words("p")
            until(lambda: "2 of 2 shards have problems" in page(running).words("p"), "the status to be shown again")
