# One image with both binaries; docker-compose.yml says which one runs.
FROM rust:1.95-bookworm AS builder
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p gateway -p publisher

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/postern --create-home --shell /usr/sbin/nologin postern
COPY --from=builder /src/target/release/gateway /src/target/release/publisher /usr/local/bin/
USER postern
# Where the embedded broker keeps its data when no AMQP_URL is given.
WORKDIR /var/lib/postern
EXPOSE 8080
# The gateway drains on SIGTERM: it answers every held poll before it ends.
STOPSIGNAL SIGTERM
# The image has no curl: the gateway asks itself, and the answer is its exit code.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["gateway", "--check", "http://127.0.0.1:8080/ready"]
CMD ["gateway"]
