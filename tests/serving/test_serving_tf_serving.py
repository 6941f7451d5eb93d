"""What is rendered for TensorFlow Serving, parsed the way it and Docker parse it."""

import json
import os
import subprocess

import httpx
import numpy as np
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message
from serving_fakes import write_version

from serving import Client
from serving.errors import InvalidArgumentError, ServingError
from serving.tf_serving import IMAGE, render, write

FIELD = descriptor_pb2.FieldDescriptorProto


def message_like(name: str, *fields: tuple[str, int, int, str]) -> Message:
    """Build a message from (field, number, label, type) where the official package leaves its definition out."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="like", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    message = file.message_type.add(name=name)
    for field, number, label, kind in fields:
        scalar = {"int64": FIELD.TYPE_INT64, "bool": FIELD.TYPE_BOOL, "string": FIELD.TYPE_STRING}.get(kind)
        message.field.add(name=field, number=number, label=label, type=scalar or FIELD.TYPE_MESSAGE, type_name=None if scalar else kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"like.{name}"))()


@pytest.fixture
def texts(models_root):
    write_version(models_root, "another.one", 12)
    return render(models_root)


def test_models_config_parses_with_the_official_message(texts):
    from tensorflow_serving.config import model_server_config_pb2

    config = text_format.Parse(texts["models.config"], model_server_config_pb2.ModelServerConfig())
    models = [(model.name, model.base_path, model.model_platform) for model in config.model_config_list.config]
    assert models == [("another.one", "/models/another.one", "tensorflow"), ("dec", "/models/dec", "tensorflow")]


def test_batching_config_parses_with_wrapped_values(texts):
    wrapped = ".google.protobuf.Int64Value"
    one, many = FIELD.LABEL_OPTIONAL, FIELD.LABEL_REPEATED
    parameters = message_like(
        "BatchingParameters",
        ("max_batch_size", 1, one, wrapped),
        ("batch_timeout_micros", 2, one, wrapped),
        ("max_enqueued_batches", 3, one, wrapped),
        ("num_batch_threads", 4, one, wrapped),
        ("allowed_batch_sizes", 6, many, "int64"),
    )
    text_format.Parse(texts["batching.config"], parameters)
    sizes = list(parameters.allowed_batch_sizes)
    assert sizes == sorted(sizes)
    assert sizes[-1] == parameters.max_batch_size.value


def test_the_client_sends_batches_as_large_as_the_configured_ones(texts, server):
    sent = []

    def record(request: httpx.Request) -> httpx.Response:
        sent.append(len(json.loads(request.content)["instances"]))
        return server.handle_request(request)

    Client("http://server", transport=httpx.MockTransport(record)).decode("dec", np.zeros((300, 2)))
    assert f"max_batch_size {{ value: {sent[0]} }}" in texts["batching.config"]
    assert sent == [128, 128, 44]


def test_monitoring_config_switches_prometheus_on(texts):
    prometheus = texts["monitoring.config"].partition("prometheus_config {")[2].rpartition("}")[0]
    config = message_like("PrometheusConfig", ("enable", 1, FIELD.LABEL_OPTIONAL, "bool"), ("path", 2, FIELD.LABEL_OPTIONAL, "string"))
    text_format.Parse(prometheus, config)
    assert config.enable
    assert config.path == "/monitoring/prometheus/metrics"


def test_compose_starts_the_image_on_loopback_with_the_models_read_only(texts, models_root):
    service = yaml.safe_load(texts["compose.yaml"])["services"]["tensorflow-serving"]
    assert service["image"] == IMAGE == "tensorflow/serving:2.20.0"
    assert service["init"] is True
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["volumes"][0] == {"type": "bind", "source": str(models_root.resolve()), "target": "/models", "read_only": True}
    assert {"--rest_api_port=8501", "--num_load_threads=2", "--model_config_file=/config/models.config"} <= set(service["command"])
    assert "for model in another.one dec; do" in service["healthcheck"]["test"][-1]


def test_compose_and_the_script_pass_the_same_flags(texts):
    flags = yaml.safe_load(texts["compose.yaml"])["services"]["tensorflow-serving"]["command"]
    stripped = [line.strip().removesuffix(" \\") for line in texts["run.sh"].splitlines()]
    assert stripped[stripped.index(IMAGE) + 1 :] == [*flags, '"$@"']


def test_a_path_with_every_special_character_arrives_whole(tmp_path):
    root = tmp_path / "a $HOME's folder; é=&"
    write_version(root)
    source = yaml.safe_load(render(root)["compose.yaml"])["services"]["tensorflow-serving"]["volumes"][0]["source"]
    assert source == str(root).replace("$", "$$")  # Compose would put a variable in place of a single one
    write(root, tmp_path / "deploy")
    script = (tmp_path / "deploy" / "run.sh").read_text().replace("exec docker", "printf '%s\\n'")
    printed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert f"type=bind,source={root},target=/models,readonly" in printed


def test_rendering_again_changes_nothing_and_replaces_only_its_own_files(models_root, tmp_path):
    out = tmp_path / "deploy"
    first = {path: path.read_text() for path in write(models_root, out)}
    assert first == {path: path.read_text() for path in write(models_root, out)}
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in first)
    (out / "run.sh").write_text("somebody else's")
    with pytest.raises(InvalidArgumentError, match=r"run\.sh was not rendered here and is left alone"):
        write(models_root, out)
    assert (out / "run.sh").read_text() == "somebody else's"


@pytest.mark.parametrize("name", ["com,ma", 'quo"te', "line\nbreak", os.fsdecode(b"not utf-8 \xff")])
@pytest.mark.parametrize("argument", ["models", "out"])
def test_paths_that_cannot_be_mounted_are_refused_before_anything_is_written(models_root, tmp_path, argument, name):
    write_version(tmp_path / name)
    folders = {"models": models_root, "out": tmp_path / "deploy"} | {argument: tmp_path / name}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidArgumentError) as raised:
        write(**folders)
    expected = f"`{argument}` must be UTF-8 without commas, double quotes and line breaks, got {str(tmp_path / name)!r}: rename it"
    assert raised.value.message == expected
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_no_file_is_left_alone(models_root, tmp_path):
    out = tmp_path / "deploy"
    out.mkdir()
    os.mkfifo(out / "run.sh")
    with pytest.raises(InvalidArgumentError, match=r"run\.sh was not rendered here and is left alone"):
        write(models_root, out)
    assert [path.name for path in out.iterdir()] == ["run.sh"]


@pytest.mark.parametrize("name", ["with space", 'quo"te', "colon:", "umlautä"])
def test_names_that_fit_no_url_are_refused(tmp_path, name):
    write_version(tmp_path, name)
    with pytest.raises(InvalidArgumentError, match="does not fit into a URL"):
        render(tmp_path)


def test_a_version_that_the_real_server_could_not_load_is_refused(models_root):
    manifest = models_root / "dec" / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"saved_model":', '"other":'))
    with pytest.raises(InvalidArgumentError, match="holds no SavedModel"):
        render(models_root)
    manifest.unlink()
    with pytest.raises(ServingError, match=r"dec version 1 cannot be served: no manifest\.json"):
        render(models_root)
