"""Text from templates: the same models folder always gives the same files."""

import json
import re
import shlex
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serving.errors import BrokenVersionError, InvalidArgumentError, NotFoundError, ServingError
from serving.files import write_whole
from serving.manifest import read_manifest
from serving.repository import list_models, list_versions, open_repository

__all__ = ["IMAGE", "render", "write"]

IMAGE = "tensorflow/serving:2.20.0"
_MARK = "# Rendered by `python -m serving tf-serving`"
_FILES = ("models.config", "batching.config", "monitoring.config", "compose.yaml", "run.sh")

# The reason, then the flags: one list for compose.yaml and run.sh.
_FLAGS = (
    ("gRPC, which carries images four times smaller than REST in numbers.", ("--port=8500",)),
    ("REST is off unless a port is given.", ("--rest_api_port=8501",)),
    ("Which models, and their Prometheus metrics beside them on the REST port.", ("--model_config_file=/config/models.config",)),
    ("", ("--monitoring_config_file=/config/monitoring.config",)),
    (
        "By default one thread loads all models: the retries of a broken version would hold up every other load.",
        ("--num_load_threads=2",),
    ),
    (
        "Versions are renamed into place whole, so waiting does not mend a broken one; the defaults, 5 retries a minute apart, "
        "would report it after 5 minutes.",
        ("--max_num_load_retries=1", "--load_retry_interval_micros=1000000"),
    ),
)


def render(models: Path) -> dict[str, str]:
    """Render all files for the newest state of a models folder.

    Args:
        models: Folder that holds NAME/VERSION/.

    Returns:
        Text by file name: models.config, batching.config, monitoring.config, compose.yaml, run.sh.

    Raises:
        NotFoundError: The folder is not there or holds no exported version.
        InvalidArgumentError: The path cannot be mounted, a model has a name that cannot stand in a URL, or its newest version
            no SavedModel.
    """
    root = open_repository(models)
    _check_mountable("models", root)
    versions = {name: folders for name, model in list_models(root).items() if (folders := list_versions(model, root))}
    if not versions:
        raise NotFoundError(f"no folder NAME/VERSION/ in {models}: export a model first")
    for name, folders in versions.items():
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise InvalidArgumentError(f"the model name {name!r} does not fit into a URL: use letters, digits, `.`, `_` and `-`")
        newest = folders[max(folders)]
        try:
            formats = read_manifest(newest).formats
        except BrokenVersionError as error:
            raise InvalidArgumentError(f"{name} version {max(folders)} cannot be served: {error}") from None
        if "saved_model" not in formats:
            raise InvalidArgumentError(
                f"{newest} holds no SavedModel, which is all that TensorFlow Serving reads: export it with that format"
            )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # no HTML here; the filters below quote
    )
    environment.filters |= {"quoted": _quoted, "shell": shlex.quote}
    values = {"mark": _MARK, "image": IMAGE, "models": sorted(versions), "root": str(root), "flags": _FLAGS}
    return {name: environment.get_template(f"{name}.j2").render(values) for name in _FILES}


def _check_mountable(argument: str, path: Path) -> None:
    """Refuse what cannot stand in a `docker run --mount`, which reads comma-separated values, or in a text file."""
    text = str(path)
    if re.search('[,"\r\n]', text) or text.encode(errors="replace").decode() != text:
        raise InvalidArgumentError(f"`{argument}` must be UTF-8 without commas, double quotes and line breaks, got {text!r}: rename it")


def _quoted(text: str) -> str:
    """Quote for YAML as Compose reads it: a JSON string, with `$` doubled against interpolation."""
    return json.dumps(text, ensure_ascii=False).replace("$", "$$")


def write(models: Path, out: Path) -> list[Path]:
    """Render all files into a folder; an earlier rendering is replaced, any other file is not.

    Args:
        models: Folder that holds NAME/VERSION/.
        out: Folder for the files; made if missing.

    Returns:
        The files written.

    Raises:
        ServingError: As `render`; or a file of somebody else is in the way; or the folder cannot be written.
    """
    texts = render(models)
    _check_mountable("out", out.absolute())
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in texts:
            if (out / name).exists() and not _is_ours(out / name):
                raise InvalidArgumentError(f"{out / name} was not rendered here and is left alone: choose another `--out`")
    except OSError as error:
        raise ServingError(f"cannot write into {out}: {error.strerror}") from None
    for name, text in texts.items():
        write_whole(out / name, text.encode(), mode=0o755 if name.endswith(".sh") else 0o644)
    return [out / name for name in texts]


def _is_ours(path: Path) -> bool:
    return path.is_file() and _MARK in path.read_text(errors="replace")
