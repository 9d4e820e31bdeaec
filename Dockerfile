# syntax=docker/dockerfile:1
#
#   docker build --target stagedoor -t stagedoor .     what is deployed
#   docker build --target devtenant -t devtenant .     for development: never deploy it
#
# The final images have a C library, certificates and one binary: no shell, no package
# manager, and a user without rights. So there is no HEALTHCHECK, which would need
# something to run. Point an orchestrator's probes at the admin port instead: /live and
# /ready over HTTP, or `grpc.health.v1.Health` on the gRPC port.

# The toolchain the code is written for (rust-version in Cargo.toml), and the same
# Debian below, so that the C library is the one that was linked to.
FROM rust:1.95.0-bookworm AS source
WORKDIR /src
COPY . .

FROM source AS build-stagedoor
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=target-stagedoor,target=/src/target,sharing=locked \
    cargo build --locked --release -p stagedoor \
    && cp target/release/stagedoor /stagedoor

FROM source AS build-devtenant
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=target-devtenant,target=/src/target,sharing=locked \
    cargo build --locked --release -p devtenant \
    && cp target/release/devtenant /devtenant

# Signs any token for anybody who asks.
FROM gcr.io/distroless/cc-debian12:nonroot AS devtenant
COPY --from=build-devtenant /devtenant /usr/local/bin/devtenant
ENTRYPOINT ["/usr/local/bin/devtenant"]

# Last, so that a build without --target is this one.
FROM gcr.io/distroless/cc-debian12:nonroot AS stagedoor
COPY --from=build-stagedoor /stagedoor /usr/local/bin/stagedoor
# Where the configuration is mounted; relative paths in it start at its folder.
WORKDIR /etc/stagedoor
ENTRYPOINT ["/usr/local/bin/stagedoor"]
CMD ["serve", "--config", "/etc/stagedoor/stagedoor.yaml"]
