# syntax=docker/dockerfile:1
# Two images from one recipe:
#   docker build --target server -t ossicle .         serves on the processor (the default)
#   docker build --target train -t ossicle-train .    trains, on an NVIDIA GPU or the processor
# The model runs on the processor in both: ONNX Runtime's CPU build is what serving uses.

FROM python:3.11-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PATH=/opt/ossicle/bin:$PATH
RUN useradd --create-home --uid 10001 ossicle

FROM base AS sources
WORKDIR /src
RUN python -m venv /opt/ossicle
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY data data
COPY model model
COPY proto proto
COPY service service

FROM sources AS server-build
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt '.[otel]'

FROM sources AS train-build
# The registry's torch brings the CUDA libraries it needs; the host gives only the driver.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt '.[train]'

FROM base AS train
COPY --from=train-build /opt/ossicle /opt/ossicle
WORKDIR /ossicle
COPY model/configs model/configs
RUN mkdir runs && chown ossicle runs
USER 10001
ENTRYPOINT ["ossicle", "train"]
CMD ["model/configs/tiny.yaml", "--run", "runs/tiny"]

FROM base AS server
COPY --from=server-build /opt/ossicle /opt/ossicle
USER 10001
WORKDIR /home/ossicle
# Inside a container the loopback address reaches nobody. The server starts only with a certificate
# (OSSICLE_TLS_CERT, OSSICLE_TLS_KEY), or with OSSICLE_INSECURE=1. Health is told on a port of its own,
# in clear text: checks have neither tokens nor certificates.
ENV OSSICLE_HOST=0.0.0.0 \
    OSSICLE_PORT=50051 \
    OSSICLE_HEALTH_PORT=50052
EXPOSE 50051 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s \
    CMD ["sh", "-c", "exec ossicle health --server 127.0.0.1:${OSSICLE_HEALTH_PORT}"]
CMD ["ossicle", "serve"]
