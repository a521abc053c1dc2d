# docs/image.md tells how to pin the two base images by digest.
FROM --platform=$BUILDPLATFORM rust:1.95-slim-bookworm AS build
ARG BUILDARCH
ARG TARGETARCH
# Another architecture is compiled for, not emulated: it needs its linker, its libc and its standard library.
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# A cross compiler goes by the base image, whose packages it has to fit.
# hadolint ignore=DL3008
RUN if [ "$TARGETARCH" != "$BUILDARCH" ]; then \
      case "$TARGETARCH" in amd64) gcc=x86-64 rust=x86_64 ;; *) gcc=aarch64 rust=aarch64 ;; esac \
      && apt-get update \
      && apt-get install -y --no-install-recommends "gcc-$gcc-linux-gnu" "libc6-dev-$TARGETARCH-cross" \
      && { [ -d "$(rustc --print sysroot)/lib/rustlib/$rust-unknown-linux-gnu" ] \
           || rustup target add "$rust-unknown-linux-gnu"; }; \
    fi
# jemalloc is built with it, and the slim image has none.
# hadolint ignore=DL3008
RUN command -v make || { apt-get update && apt-get install -y --no-install-recommends make; }
WORKDIR /src
COPY . .
# The service's cargo features in the image: docs/logs.md#traces, docs/resources.md#memory-after-a-peak.
ARG FEATURES=otlp,jemalloc
ARG REVISION
# Dependencies are kept in the mounts: only the engine and the service are built again. Cargo goes by file times, and
# what another checkout left in the mount may be younger than these sources, hence the touch. RUSTFLAGS would reach
# build scripts and proc macros too, which can't be static, were it not for --target.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=landfall-target,target=/src/target,sharing=locked \
    case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-gnu ;; \
      arm64) target=aarch64-unknown-linux-gnu ;; \
      *) echo "TARGETARCH is '$TARGETARCH': expected amd64 or arm64" >&2; exit 1 ;; \
    esac \
    && find src frames otlp telemetry variables service -type f -exec touch {} + \
    && RUSTFLAGS="-C target-feature=+crt-static" \
       cargo build --release --locked --features "$FEATURES" --target "$target" \
    && install -m 0555 "target/$target/release/$(scripts/name.sh)" /service

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /service /service
WORKDIR /
USER 10001:10001
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Two failures make it unhealthy, within 5 s: before the default drain delay is over.
HEALTHCHECK --interval=2s --timeout=3s --start-period=60s --retries=2 CMD ["/service", "healthcheck"]
ENTRYPOINT ["/service"]
# The Makefile says what the image is called.
ARG NAME
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="$NAME" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
