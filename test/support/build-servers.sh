#!/usr/bin/env bash
# Builds Consul and the Kubernetes API server, for the tests of service discovery against real servers, into a folder to be put on the PATH.
# Needs Go and some ten minutes; etcd comes from the system's packages (Debian: etcd-server).
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
out="$(cd "$1" && pwd)"
consul=1.20.6
kubernetes=33.4 # of 1.x and of the libraries 0.x
work="$(mktemp -d)"
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
export GOFLAGS=-mod=mod

# Its modules replace one another by folders that the published module does not hold; the published ones serve as well.
cd "$work"
cp -r "$(go mod download -json "github.com/hashicorp/consul@v$consul" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')" consul
chmod -R u+w consul
cd consul
sed -i '/^replace (/,/^)/d; /^replace github.com\/hashicorp\/consul\//d' go.mod
go build -o "$out/consul" .

mkdir "$work/kubernetes"
cd "$work/kubernetes"
printf 'module apiserver\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v1.%s\n' "$kubernetes" >go.mod
go mod download -json "k8s.io/kubernetes@v1.$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p' | xargs sed -n 's#.*=> ./staging/src/k8s.io/##p' |
  while read -r name; do echo "replace k8s.io/$name => k8s.io/$name v0.$kubernetes"; done >>go.mod
cat >main.go <<'GO'
package main

import (
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
GO
at=k8s.io/component-base/version
go build -ldflags "-X $at.gitVersion=v1.$kubernetes -X $at.gitMajor=1 -X $at.gitMinor=${kubernetes%.*}" -o "$out/kube-apiserver" .
ls -l "$out"
