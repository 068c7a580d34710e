"""Writes consumer/daemon/class_list.txt: `make class-list`, after an upgrade of the KCL or of Java. Needs openssl.

The service reads one record from MiniStack over TLS, as from AWS. The JVM lists the classes that it loads, and of each
class the constants that it resolves, up to its exit.
"""

import asyncio
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from consumer.daemon.aot_cache import CLASS_LIST
from consumer.daemon.java import find_java
from tests.support.driven.processes import LOOPBACK
from tests.support.driven.scenario import Stage, samples, until_received
from tests.support.driven.service import consumer, environment, service
from tests.support.emulators.aws import ministack

PASSWORD = "changeit"
RECORDS = 20


def main() -> int:
    with ministack() as aws, TemporaryDirectory() as temporary:
        directory = Path(temporary)
        certificate = make_certificate(directory)
        variables = environment("classes", directory, AWS_ENDPOINT_URL=aws.endpoint)
        consumer(variables, "provision", "--stream", "1")
        Stage(variables).put(samples(seed=1, count=RECORDS))
        listed = directory / "classes"
        with tls(aws.endpoint, certificate) as endpoint:
            run(variables | {"AWS_ENDPOINT_URL": endpoint}, listed, certificate)
        CLASS_LIST.write_text(essence(listed.read_text(encoding="ascii")), encoding="ascii")
    print(f"{CLASS_LIST.name}: {len(CLASS_LIST.read_text(encoding='ascii').splitlines())} lines")
    return 0


def run(variables: Mapping[str, str], listed: Path, certificate: Path) -> None:
    """Runs the service until it has received its records. Its JVM writes the file `listed`."""
    store = certificate.with_suffix(".p12")
    trust = f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword={PASSWORD}"
    # With `-Xshare`, an existing cache is not used.
    options = {
        "AWS_CA_BUNDLE": str(certificate),
        "CONSUMER_JAVA_OPTIONS": f"-XX:+UseSerialGC -Xshare:auto -XX:DumpLoadedClassList={listed} {trust}",
    }
    with service({**variables, **options}, listed.with_suffix(".log")) as running:
        until_received(running, RECORDS)
        running.stop(60)


def essence(listed: str) -> str:
    """The names of classes, then the lines `@cp` with constants, each sorted, so that lists can be compared."""
    lines = [line.partition(" id: ")[0] for line in listed.splitlines()]
    names = {line for line in lines if line[0] not in "#@"}
    constants = {line for line in lines if line.startswith("@cp ")}
    return "".join(f"{line}\n" for line in (*sorted(names), *sorted(constants)))


# --- TLS -----------------------------------------------------------------------------------------------------------


def make_certificate(directory: Path) -> Path:
    """A certificate of this machine with its key in the same file, and a trust store for Java beside it."""
    file, store = directory / "own.pem", directory / "own.p12"
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(directory / "key.pem"))
    named = ("-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{LOOPBACK}", "-out", str(file))
    call("openssl", "req", "-x509", *made, *named)
    keytool = find_java({}).with_name("keytool")
    kept = ("-keystore", str(store), "-storepass", PASSWORD, "-noprompt")
    call(str(keytool), "-importcert", "-alias", "own", "-file", str(file), *kept)
    with file.open("a") as pem:
        pem.write((directory / "key.pem").read_text())
    return file


def call(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def tls(upstream: str, certificate: Path) -> Iterator[str]:
    """The endpoint of a proxy that accepts TLS and forwards to `upstream`, HTTP/2 included."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    target = urlsplit(upstream)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(forward, LOOPBACK, 0, ssl=context), loop).result()
    try:
        yield f"https://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies until the end, then closes the writer."""
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


if __name__ == "__main__":
    sys.exit(main())
