# syntax=docker/dockerfile:1
# The images of the controllers for people with Docker, one target each, for amd64 and arm64:
#   docker buildx build --platform linux/amd64,linux/arm64 --target nodeop-controller --tag REGISTRY/nodeop-controller:TAG --push .
# `cargo xtask image` makes the same without Docker, for the processor of the machine.

FROM --platform=$BUILDPLATFORM rust:1.95.0-bookworm AS build
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /kairos-operator
ARG TARGETARCH
# Compiled across where the image is for another processor: an emulated compiler takes an hour.
RUN <<SETUP
set -eu
case "$TARGETARCH" in
amd64) machine=x86_64 ;;
arm64) machine=aarch64 ;;
*) echo "there is no image for $TARGETARCH, only for amd64 and arm64" >&2 && exit 1 ;;
esac
rustup target add "$machine-unknown-linux-gnu"
if [ "$machine" != "$(uname -m)" ]; then
  apt-get update
  apt-get install --yes --no-install-recommends "gcc-$(echo "$machine" | tr _ -)-linux-gnu" "libc6-dev-$TARGETARCH-cross"
fi
echo "$machine" > /machine
SETUP
COPY . .
# Static, so that they run in an image without libraries.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/kairos-operator/target,id=target-$TARGETARCH <<BUILD
set -eu
machine=$(cat /machine)
export "CARGO_TARGET_$(echo "$machine" | tr a-z A-Z)_UNKNOWN_LINUX_GNU_LINKER=$machine-linux-gnu-gcc"
export "CC_${machine}_unknown_linux_gnu=$machine-linux-gnu-gcc"
export RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/usr/local/cargo=/cargo"
cargo build --release --locked --bins --target "$machine-unknown-linux-gnu" \
  --package artifact-controller --package node-labeller --package nodeop-controller --package upgrade-controller
mkdir /out
cd "target/$machine-unknown-linux-gnu/release"
cp artifact-controller artifact-worker node-labeller node-labeller-detect nodeop-controller node-agent upgrade-controller /out/
BUILD

FROM scratch AS artifact-controller
COPY --from=build /out/artifact-controller /out/artifact-worker /
USER 65532:65532
ENTRYPOINT ["/artifact-controller"]

FROM scratch AS node-labeller
COPY --from=build /out/node-labeller /out/node-labeller-detect /
USER 65532:65532
ENTRYPOINT ["/node-labeller"]

FROM scratch AS nodeop-controller
COPY --from=build /out/nodeop-controller /out/node-agent /
USER 65532:65532
ENTRYPOINT ["/nodeop-controller"]

FROM scratch AS upgrade-controller
COPY --from=build /out/upgrade-controller /
USER 65532:65532
ENTRYPOINT ["/upgrade-controller"]
