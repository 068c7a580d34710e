"""Classes of the KCL with code added, so that the daemon reads a stream by its ARN.

The KCL puts the ARN in its requests if a StreamIdentifier has one. The MultiLangDaemon (KCL 3.1.3 to 3.5.1) never gives
it one: it takes the name from its property `streamArn`, and passes on the name alone. Here, the ARN comes from the
environment. The KCL describes the stream of a fan-out consumer by its name, whatever it knows; here, by the ARN too.
Without an ARN, both classes do what they did. shim_jar.py puts them before the KCL's jars on the class path.
"""

from collections.abc import Sequence

from consumer.daemon.class_files import Call, Insertion, invokestatic
from consumer.settings import variable

_GETENV = Call("java/lang/System", "getenv", "(Ljava/lang/String;)Ljava/lang/String;")
_ARN = "software/amazon/awssdk/arns/Arn"
_SUMMARY = "software/amazon/awssdk/services/kinesis/model/DescribeStreamSummaryRequest$Builder"
_SET_ARN = 41
"""The method of the identifier's builder that sets the ARN, in the constants of the class."""

IDENTIFIER = Insertion(
    name="software/amazon/kinesis/common/StreamIdentifier",
    # singleStreamInstance(streamName): Validate.notEmpty(streamName, ...); builder().streamName(streamName).build()
    method=bytes.fromhex("2a122a03bd002bb8002c57b8001b2ab8001eb80020b0"),
    at=18,  # before build()
    stack=3,
    string=variable("stream_arn"),
    # .streamArnOptional(Arn.tryFromString(System.getenv("CONSUMER_STREAM_ARN")))
    calls=(_GETENV, Call(_ARN, "tryFromString", "(Ljava/lang/String;)Ljava/util/Optional;")),
    then=invokestatic(_SET_ARN),
    pad=1,
)

SUMMARY = Insertion(
    name="software/amazon/kinesis/common/KinesisRequestsBuilder",
    # describeStreamSummaryRequestBuilder(): appendUserAgent(DescribeStreamSummaryRequest.builder())
    method=bytes.fromhex("b8000cb80003c0000db0"),
    at=9,  # before the return
    stack=2,
    string=variable("stream_arn"),
    # .streamARN(System.getenv("CONSUMER_STREAM_ARN"))
    calls=(_GETENV, Call(_SUMMARY, "streamARN", f"(Ljava/lang/String;)L{_SUMMARY};", of_interface=True)),
)

INSERTIONS: Sequence[Insertion] = (IDENTIFIER, SUMMARY)
