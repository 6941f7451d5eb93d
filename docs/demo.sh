#!/usr/bin/env bash
# The main job from end to end on 1,797 embedded images: train, evaluate, report, export, serve, ask the server for images.
# Called by `make demo`. Everything it makes lies in demo/, which it replaces.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
started=$SECONDS

step() { printf '\n== %s\n' "$1"; }

rm -rf demo
step "1/6 train: 1,455 images of 8x8 pixels and 17 grey levels"
"$python" -m vae_tf train digits --run demo/run

step "2/6 evaluate: log p(x) of 180 test images"
"$python" -m vae_tf evaluate demo/run --samples 1000

step "3/6 report"
"$python" -m vae_tf report demo/run

step "4/6 export the generator, verified in fresh processes"
"$python" -m export demo/run demo/models --name digits

step "5/6 serve it"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$python" -m serving run demo/models --port "$port" &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT

step "6/6 ask the server for 64 images"
"$python" -m serving generate --url "http://127.0.0.1:$port" --model digits --count 64 --seed 0 --out demo/samples.png
kill "$server"
wait "$server" || true
trap - EXIT

step "done in $((SECONDS - started)) s"
"$python" - <<'END'
import json

estimate = json.load(open("demo/run/evaluation.json"))["log_likelihood"]
print(f"test log-likelihood  {estimate['value']:.2f} +- {estimate['standard_error']:.2f} nats per image ({estimate['method']})")
END
echo "report               demo/run/report.html"
echo "exported generator   demo/models/digits/1/"
echo "images from serving  demo/samples.png"
