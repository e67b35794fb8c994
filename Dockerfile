# The image of the switch: `docker build -t tandem .`
#
# Base images are arguments, for registries of one's own.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS manifests
WORKDIR /src
COPY . .
# What dependencies are built from: manifests, and a source file for each target that they name.
RUN echo 'fn main() {}' > /main.rs \
    && find . -name '*.rs' -exec truncate --size 0 {} + \
    && find . -name main.rs -exec cp /main.rs {} ';'

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
# This layer changes with the manifests only.
COPY --from=manifests /src/Cargo.toml /src/Cargo.lock ./
COPY --from=manifests /src/crates crates
COPY --from=manifests /src/tests tests
RUN cargo build --locked --release --package tandem --bin tandem
COPY . .
RUN find . -name '*.rs' -exec touch {} + && cargo build --locked --release --package tandem --bin tandem

FROM ${RUN_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tandem" \
      org.opencontainers.image.description="A carrier softswitch that does not drop calls" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --system --gid 65532 tandem \
    && useradd --system --uid 65532 --gid tandem --no-create-home --shell /usr/sbin/nologin tandem
COPY --from=build /src/target/release/tandem /usr/local/bin/tandem
USER 65532:65532
EXPOSE 5060/udp 5060/tcp 5061/tcp 7946/tcp 8080/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/tandem"]
CMD ["run"]
