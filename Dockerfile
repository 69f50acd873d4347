# The image that pods of the bench run: probe pods, and the workers of a load. For a cluster:
#   docker build --tag REGISTRY/gpu-bench:0.1.0 . && docker push REGISTRY/gpu-bench:0.1.0
# then `--set pod-autoscaling.probe_image=REGISTRY/gpu-bench:0.1.0`.
ARG PYTHON=3.12-slim-bookworm

# The engine is compiled here; neither the toolchain nor the sources go into the image.
FROM rust:1.90-slim-bookworm AS rust

FROM python:${PYTHON} AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
COPY --from=rust /usr/local/cargo /usr/local/cargo
COPY --from=rust /usr/local/rustup /usr/local/rustup
ENV PATH=/opt/bench/bin:/usr/local/cargo/bin:$PATH CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup
RUN python3 -m venv /opt/bench
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY bench ./bench
COPY workloads ./workloads
COPY scenarios ./scenarios
# An image whose engine is the Python one would measure itself: the build fails where the engine is missing.
RUN pip install --no-cache-dir . \
 && cd / \
 && python3 -c "from bench.load.engine import find_native; assert find_native(), 'the engine was not built'"

FROM python:${PYTHON}
COPY --from=build /opt/bench /opt/bench
ENV PATH=/opt/bench/bin:$PATH
USER 65532:65532
ENTRYPOINT ["bench"]
