# Builds from a clean clone: docker build -t ackwarden .
# How to run it, and what loopback means in a container: docs/operations.md

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The image's own toolchain is the right one: rust-toolchain.toml would only add rustfmt and clippy.
ENV RUSTUP_TOOLCHAIN=1.95.0
COPY Cargo.toml Cargo.lock ./
COPY src ./src
COPY config.example.toml ./
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin ackwarden \
    && cp target/release/ackwarden /ackwarden

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Ackwarden" \
      org.opencontainers.image.description="Makes Apache Kafka safe against consumers that crash in mid-work" \
      org.opencontainers.image.licenses="Apache-2.0"
# libssl3 and the CAs: for SASL_SSL. Their versions are the distribution's, which alone gets the security updates.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin ackwarden \
    && install -d -o ackwarden -g ackwarden -m 0700 /var/lib/ackwarden \
    && install -d -m 0755 /etc/ackwarden
COPY --from=build /ackwarden /usr/local/bin/ackwarden

USER 10001:10001
WORKDIR /var/lib/ackwarden
# ACKWARDEN_STORE wins over `store.path` of the file.
ENV ACKWARDEN_CONFIG=/etc/ackwarden/ackwarden.toml \
    ACKWARDEN_STORE=/var/lib/ackwarden/data
VOLUME ["/var/lib/ackwarden"]
# API, probes and metrics. This release listens on loopback: reachable from within the container's network namespace alone.
EXPOSE 8080
# Alive, and not ready: a rebuild may take long, and nobody is to end it in the middle. It reads ACKWARDEN_CONFIG.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["ackwarden", "healthcheck", "--live"]
ENTRYPOINT ["ackwarden"]
CMD ["serve"]
