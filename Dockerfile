# The container images. Build them with `make image`, or with `docker build .`. Targets: consumer (the default), lambda.
#
# BASE is an image of Debian bookworm, whose Python is 3.11. LAMBDA_BASE may be any image with a `python3` of that
# version. Debian does not keep old versions of its packages, so pinned versions would soon fail to install.
# hadolint global ignore=DL3008
ARG BASE=debian:bookworm-slim
ARG LAMBDA_BASE=python

FROM ${BASE} AS python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*


# Python packages, by hash, and the KCL's jars. The build of amazon-kclpy downloads the jars without checking them, so
# they are verified against jars.lock before the build continues. Two optional secrets configure access to registries:
# pip.conf, and ca.crt, a bundle of certificates.
FROM python AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_REQUIRE_HASHES=1
WORKDIR /build
COPY requirements/build.txt requirements/run.txt requirements/
ARG KCL_MVN_REPO_SEARCH_URL=""
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/etc/ssl/certs/ca-certificates.crt \
    if [ -z "${KCL_MVN_REPO_SEARCH_URL}" ]; then unset KCL_MVN_REPO_SEARCH_URL; fi \
    && python3 -m venv tools \
    && tools/bin/pip install --only-binary :all: -r requirements/build.txt \
    && tools/bin/pip wheel --no-build-isolation -w wheels -r requirements/run.txt
COPY . .
RUN PIP_REQUIRE_HASHES=0 tools/bin/pip wheel --no-deps --no-build-isolation -w wheels . \
    && python3 -m venv --without-pip /opt/consumer \
    && PIP_REQUIRE_HASHES=0 tools/bin/pip --python /opt/consumer/bin/python install --no-index --no-deps wheels/*.whl \
    && /opt/consumer/bin/python -I -m consumer.daemon.jars verify \
    && /opt/consumer/bin/python -I -m consumer.daemon.aot_cache
RUN python3 -m deploy.sbom --wheels wheels --jars consumer/daemon/jars.lock --out /opt/consumer/sbom.cdx.json


# The function, packed as by `make lambda-zip`, and Lambda's runtime interface client.
FROM build AS lambda-build
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/etc/ssl/certs/ca-certificates.crt \
    tools/bin/pip download --no-deps --only-binary :all: -d runtime -r requirements/awslambdaric.txt \
    && tools/bin/python -m deploy.lambda_zip --arch "$(uname -m)" --out lambda.zip
RUN PIP_REQUIRE_HASHES=0 tools/bin/pip install --no-index --no-deps --target /opt/runtime runtime/*.whl \
    && rm -rf /opt/runtime/bin \
    && python3 -m zipfile -e lambda.zip /var/task \
    && python3 -m compileall -q /var/task \
    && python3 -m deploy.sbom --wheels runtime build/lambda/*/ --out /var/task/sbom.cdx.json


FROM ${LAMBDA_BASE} AS lambda
COPY --from=lambda-build /opt/runtime /opt/runtime
COPY --from=lambda-build /var/task /var/task
ENV PYTHONPATH=/var/task:/opt/runtime \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/task
USER 10001:10001
ENTRYPOINT ["python3", "-m", "awslambdaric"]
CMD ["consumer.aws_lambda.handler.handler"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="limits-consumer-lambda" \
      org.opencontainers.image.description="Keeps gamblers' spending limits up to date, behind a Kinesis mapping" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


# The service and, with the command `serve`, the HTTP API. Both write only to /tmp: run them with a read-only root and a
# tmpfs on /tmp.
FROM python AS consumer
COPY --from=build /opt/consumer /opt/consumer
ENV PATH=/opt/consumer/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    CONSUMER_RUN_DIRECTORY=/tmp/consumer \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 9464
# `consumer serve`, with CONSUMER_API_ADDRESS=0.0.0.0:8080.
EXPOSE 8080
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=4 CMD ["consumer", "doctor", "--live"]
ENTRYPOINT ["consumer"]
CMD ["run"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="limits-consumer" \
      org.opencontainers.image.description="Keeps gamblers' spending limits up to date from a Kinesis stream" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
