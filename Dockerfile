# syntax=docker/dockerfile:1
#
#   docker build --target stagedoor -t stagedoor .     what is deployed
#   docker build --target devtenant -t devtenant .     for development: never deploy it
#
# The final images have certificates and one static binary: no C library, no shell, no
# package manager, and a user without rights. So there is no HEALTHCHECK, which would need
# something to run. Point an orchestrator's probes at the admin port instead: /live and
# /ready over HTTP, or `grpc.health.v1.Health` on the gRPC port.
#
# The same source gives the same binary, as long as the base image stays what it is: the
# toolchain is named exactly, dependencies are those of Cargo.lock, and neither paths nor times
# of the machine get in. SOURCE_DATE_EPOCH, given as a build argument, sets the times in the
# image too:
#
#   docker buildx build --target stagedoor --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" \
#       --output type=oci,dest=stagedoor.tar,rewrite-timestamp=true .

# The toolchain the code is written for (rust-version in Cargo.toml). On Alpine its target is
# musl, whose binaries are static; memory comes from mimalloc, not from musl.
FROM rust:1.95.0-alpine AS source
# For the C of aws-lc and mimalloc.
# hadolint ignore=DL3018
RUN apk add --no-cache build-base linux-headers
# Writes the list of dependencies into the binary, where scanners of images find it.
RUN cargo install --locked --version 0.7.7 --root /usr/local cargo-auditable
WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH=0
ENV SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH \
    CARGO_INCREMENTAL=0 \
    RUSTFLAGS="--remap-path-prefix=/src=/stagedoor --remap-path-prefix=/usr/local/cargo/registry/src=/registry" \
    CFLAGS="-ffile-prefix-map=/src=/stagedoor -ffile-prefix-map=/usr/local/cargo/registry/src=/registry"

FROM source AS build-stagedoor
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=target-stagedoor-musl,target=/src/target,sharing=locked \
    cargo auditable build --locked --release -p stagedoor \
    && cp target/release/stagedoor /stagedoor

FROM source AS build-devtenant
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=target-devtenant-musl,target=/src/target,sharing=locked \
    cargo build --locked --release -p devtenant \
    && cp target/release/devtenant /devtenant

# Signs any token for anybody who asks.
FROM gcr.io/distroless/static-debian12:nonroot AS devtenant
COPY --from=build-devtenant /devtenant /usr/local/bin/devtenant
ENTRYPOINT ["/usr/local/bin/devtenant"]

# Last, so that a build without --target is this one.
FROM gcr.io/distroless/static-debian12:nonroot AS stagedoor
ARG VERSION=0.0.0-dev
ARG REVISION=unknown
ARG SOURCE=""
LABEL org.opencontainers.image.title="Stagedoor" \
      org.opencontainers.image.description="Envoy external authorization by Entra identity and Backstage ownership" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
COPY --from=build-stagedoor /stagedoor /usr/local/bin/stagedoor
# Where the configuration is mounted; relative paths in it start at its folder.
WORKDIR /etc/stagedoor
# By number, as Kubernetes' runAsNonRoot wants to see it.
USER 65532:65532
EXPOSE 9191
ENTRYPOINT ["/usr/local/bin/stagedoor"]
CMD ["serve", "--config", "/etc/stagedoor/stagedoor.yaml"]
