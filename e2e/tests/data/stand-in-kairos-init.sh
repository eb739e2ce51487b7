#!/bin/sh
# Stands in for kairos-init in tests: refuses what the real one refuses, and leaves what it leaves.
set -eu
stage= version= model=
while [ $# -gt 0 ]; do
  case $1 in
    -s) stage=$2 ;;
    -m) model=$2 ;;
    -v) version=$2 ;;
    *) echo "kairos-init: unknown flag or argument $1" >&2; exit 1 ;;
  esac
  shift 2
done
case $version in
  v[0-9]*|[0-9]*) ;;
  *) echo "kairos-init: -v needs a semantic version, not '$version'" >&2; exit 1 ;;
esac
[ "$model" = generic ] || { echo "kairos-init: model $model" >&2; exit 1; }
case $stage in
  install) mkdir -p /etc /boot; echo kernel > /boot/vmlinuz ;;
  init)
    echo initrd > /boot/initrd
    printf 'KAIROS_VERSION="%s"\nKAIROS_MODEL="%s"\n' "$version" "$model" > /etc/kairos-release ;;
  *) echo "kairos-init: stage $stage" >&2; exit 1 ;;
esac
