"""Claims about the files for clusters: what their shell makes of each worker's number is what TensorFlow, and we, read."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

FILES = Path(__file__).parents[1] / "docs" / "cluster"


def run(script, tmp_path, environment, *arguments):
    """Run a script in which `python` tells its TF_CONFIG and its arguments."""
    fakes = {
        "python": 'echo "$TF_CONFIG|$*"',
        "scontrol": 'if [ "$1" = show ]; then printf "node%d\\n" 1 2 3; else echo "scontrol $*"; fi',
        "srun": 'shift; for SLURM_PROCID in 0 1 2; do export SLURM_PROCID; "$@"; done; exit "${SRUN_CODE:-0}"',
    }
    for name, body in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment}
    return subprocess.run(["bash", "-c", script, "bash", *arguments], env=environment, capture_output=True, text=True, check=False)


def test_each_pod_names_all_workers_and_itself(tmp_path):
    service, job = yaml.safe_load_all((FILES / "kubernetes.yaml").read_text())
    container = job["spec"]["template"]["spec"]["containers"][0]
    count = job["spec"]["completions"]
    assert (count, str(count)) == (job["spec"]["parallelism"], container["env"][0]["value"])
    assert service["spec"]["selector"]["job-name"] == job["metadata"]["name"]
    done = run(container["args"][0], tmp_path, {"WORKERS": str(count), "JOB_COMPLETION_INDEX": "2"})
    told, arguments = done.stdout.strip().split("|")
    name, port = job["metadata"]["name"], container["ports"][0]["containerPort"]
    workers = [f"{name}-{index}.{service['metadata']['name']}:{port}" for index in range(count)]
    assert json.loads(told) == {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 2}}
    assert arguments.startswith("-m vae_tf train mnist --run /runs/mnist --resume")


@pytest.mark.parametrize(("code", "queued"), [(0, False), (75, True), (2, False)])
def test_each_task_of_slurm_names_all_workers_and_itself(tmp_path, code, queued):
    environment = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-3]", "SRUN_CODE": str(code)}
    done = run((FILES / "slurm.sh").read_text(), tmp_path, environment, "mnist", "runs/a b", "--set", "training.epochs=3")
    lines = done.stdout.splitlines()
    workers = [f"node{number}:12007" for number in (1, 2, 3)]
    for index, line in enumerate(lines[:3]):
        told, arguments = line.split("|")
        assert json.loads(told) == {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        assert arguments == "-m vae_tf train mnist --run runs/a b --resume --set training.epochs=3"
    assert (done.returncode, lines[3:]) == (code, ["scontrol requeue 7"] if queued else [])
