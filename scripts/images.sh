#!/usr/bin/env bash
# Builds the two images by docker or buildah, whichever is there, and says how large they are.
#   scripts/images.sh            build into the engine's own store
#   scripts/images.sh push       the same, then push; needs REGISTRY
# REGISTRY=registry.example.com/team   before the names; VERSION=1.2.3 (default: pyproject.toml's);
# PYTHON_IMAGE=…                       another base; ENGINE=docker|buildah;
# SOURCE=https://…                     where the sources are, for the label image.source.
# Archive and bill of materials (CycloneDX, by uv from uv.lock) lie in DIST (default: dist) as
# <image>.tar and <image>.cdx.json.
set -euo pipefail
cd "$(dirname "$0")/.."
verb=${1:-build}
fail() { echo "images: $*" >&2; exit 1; }
if [ "$verb" = push ] && [ -z "${REGISTRY:-}" ]; then fail "push needs REGISTRY, e.g. REGISTRY=registry.example.com/team"; fi

engine=${ENGINE:-}
if [ -z "$engine" ]; then
  if docker info >/dev/null 2>&1; then engine=docker
  elif command -v buildah >/dev/null; then engine=buildah
  else fail "there is neither a running docker nor buildah; install one of them"; fi
fi
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -1)}
source=${SOURCE:-unknown}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
# One time for all files of a commit: the same sources give the same layers.
epoch=$(git log -1 --format=%ct 2>/dev/null || echo 0)
base=${PYTHON_IMAGE:-python:3.13-slim}
uv=$(command -v uv || true)
if [ -z "$uv" ] && [ -x .tools/uv/bin/uv ]; then uv=.tools/uv/bin/uv; fi
dist=${DIST:-dist}
mkdir -p "$dist"

build() { # build NAME FOLDER
  local arguments=(--build-arg "PYTHON_IMAGE=$base" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "SOURCE=$source" --file "$2/Dockerfile" --tag "$image")
  # Said again, for buildah's cache of layers overlooks that a LABEL's argument has changed.
  arguments+=(--label "org.opencontainers.image.version=$version" --label "org.opencontainers.image.revision=$revision" --label "org.opencontainers.image.source=$source")
  if [ "$engine" = docker ]; then
    DOCKER_BUILDKIT=1 docker build --build-arg "SOURCE_DATE_EPOCH=$epoch" "${arguments[@]}" .
  else
    buildah build --isolation chroot --network host --timestamp "$epoch" "${arguments[@]}" .
  fi
}
save() { # save ARCHIVE: with its layers as they travel
  # The name in full: what imports such an archive (kind load image-archive) takes the name as it is.
  local name=$image; if [ -z "${REGISTRY:-}" ]; then name=docker.io/library/$image; fi
  if [ "$engine" = docker ]; then docker save --output "$1" "$image"; else buildah push --quiet "$image" "oci-archive:$1:$name" >/dev/null; fi
}
layers_of_base() {
  if [ "$engine" = docker ]; then
    # BuildKit keeps a base to itself: the engine's own store may not have it.
    docker image inspect "$base" >/dev/null 2>&1 || docker pull --quiet "$base" >/dev/null
    docker image inspect --format '{{len .RootFS.Layers}}' "$base"
  else buildah inspect --type image --format '{{len .OCIv1.RootFS.DiffIDs}}' "$base"; fi
}

for part in dispatcher job; do
  folder=$part; if [ "$part" = job ]; then folder=job_image; fi
  image=${REGISTRY:+$REGISTRY/}course-runner-$part:$version
  build "$part" "$folder"
  save "$dist/course-runner-$part.tar"
  python3 scripts/image_size.py "$dist/course-runner-$part.tar" "$(layers_of_base)" "$image"
  if [ -n "$uv" ]; then
    "$uv" export --quiet --frozen --no-dev --extra "$part" --format cyclonedx1.5 --output-file "$dist/course-runner-$part.cdx.json"
    echo "images: $image: packages in $dist/course-runner-$part.cdx.json"
  else
    echo "images: no uv on PATH, so no list of packages for $image (scripts/setup.sh installs uv)" >&2
  fi
  if [ "$verb" = push ]; then
    if [ "$engine" = docker ]; then docker push "$image"; else buildah push "$image" "docker://$image"; fi
  fi
done
