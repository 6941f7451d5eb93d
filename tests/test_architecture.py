"""Claims about the house: which way the arrows point, where names become pieces, and that public names exist."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("vae_tf", "export", "serving")
AXES = ("posterior", "likelihood", "prior", "objective")
_HOMES = {
    **{axis: (f"{axis}/__init__.py",) for axis in ("posterior", "likelihood", "prior", "objective")},
    **dict.fromkeys(("encoder", "decoder"), ("networks/__init__.py",)),
    "condition": ("condition.py",),
}
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path):
    """The modules that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def roots(path):
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("vae_tf", {"export", "serving"}),
        ("export", {"serving"}),
        ("serving", {"vae_tf", "export", "tensorflow", "tensorflow_probability", "tf_keras", "keras"}),
    ],
)
def test_arrows_point_one_way(package, forbidden):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): roots(path) & forbidden for path in files if roots(path) & forbidden}
    assert not wrong


@pytest.mark.parametrize("axis", AXES)
def test_the_axes_do_not_know_each_other(axis):
    others = tuple(f"vae_tf.{name}" for name in (*AXES, "model", "build", "generator") if name != axis)
    for path in sorted((ROOT / "vae_tf" / axis).glob("*.py")):
        assert not {name for name in imported(path) if name.startswith(others)}, path


def test_the_model_is_given_pieces_and_builds_none():
    """`model` may know the kinds of pieces and the default objective, never a registry or a network."""
    known = imported(ROOT / "vae_tf" / "model.py")
    assert not known & {"vae_tf.networks", "vae_tf.build", "vae_tf.config"}
    assert not {name for name in known if name.rsplit(".", 1)[-1].isupper() and name.startswith("vae_tf.") and name != "vae_tf.model.VAE"}


def test_names_of_pieces_appear_only_in_their_registries():
    """A configuration has defaults; nothing else may ask which piece it holds."""
    from pieces import REGISTRIES

    from vae_tf.history import COLUMNS

    common = {*COLUMNS, "classes", "vector", "conv", "normal", "beta"}  # words with another meaning elsewhere
    literals = {path: {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)} for path in SOURCES}
    for axis, registry in REGISTRIES.items():
        homes = {(ROOT / "vae_tf" / name) for name in ("config.py", *_HOMES[axis])}
        for name in set(registry) - common:
            named = {path for path, words in literals.items() if name in words and path not in homes}
            others = {ROOT / "vae_tf" / home for other, pieces in REGISTRIES.items() if name in pieces for home in _HOMES[other]}
            assert not named - others, f"the {axis} {name!r} is named in {named - others}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_exists(package):
    modules = [package, *(m.name for m in pkgutil.walk_packages([str(ROOT / package)], f"{package}.") if not m.name.endswith("__main__"))]
    for name in modules:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            assert hasattr(module, public), f"{name}.__all__ names {public}"


def test_classes_are_abstract_or_final():
    """A class of ours is either subclassed here, or marked final."""
    trees = {path: ast.parse(path.read_text()) for path in SOURCES}
    classes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = {ast.unparse(base).split(".")[-1].split("[")[0] for _, node in classes for base in node.bases}
    undecided = []
    for path, node in classes:
        final = any(ast.unparse(decorator) == "final" for decorator in node.decorator_list)
        protocol = any(ast.unparse(base).split(".")[-1] == "Protocol" for base in node.bases)
        error = any(ast.unparse(base).endswith(("Error", "Run", "Exception")) for base in node.bases)
        schema = any(ast.unparse(base) in ("BaseModel", "NamedTuple") for base in node.bases)
        private = node.name.startswith("_")
        settings = path.name == "config.py"
        if not (final or protocol or error or schema or private or settings or node.name in bases):
            undecided.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert not undecided


def test_importing_the_package_does_no_work():
    """`import vae_tf` loads no TensorFlow: a mistake on a command line is answered at once."""
    code = "import sys, vae_tf, vae_tf.cli, export, export.cli, serving, serving.cli; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_source_files_are_small():
    sizes = sorted(len(path.read_text().splitlines()) for path in SOURCES if path.name != "__init__.py")
    assert sizes[len(sizes) // 2] < 200
    assert sizes[-1] < 400


def test_the_documents_name_only_files_that_exist():
    """Paths in backticks in README and docs exist in the repository, or are made by its commands."""
    made = (
        "runs/",
        "models/",
        "demo/",
        "deploy/",
        "MODELS/",
        "RUN/",
        "~",
        "checkpoints/",
        "tensorboard/",
        "sweep/",
        "variables/",
        "assets.extra/",
    )
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for name in re.findall(r"`([\w./-]+/[\w./-]*|[\w/-]+\.(?:py|md|yaml|sh|toml))`", document.read_text()):
            if not name.startswith(made) and not re.match(r"^(config|compose)\.yaml$", name):
                candidates = [ROOT / name, ROOT / "docs" / name, *(ROOT / package / name for package in PACKAGES)]
                assert any(path.exists() for path in candidates), f"{document.name} names {name}"


def test_the_table_of_pieces_is_up_to_date():
    """docs/models.md is made from the registries."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from make_models import TARGET, document
    finally:
        sys.path.pop(0)
    assert TARGET.read_text() == document(), "run `python docs/make_models.py`"


def test_every_package_is_installed():
    """The build lists packages by hand; one that is missing would only be missed by those who install."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent for package in PACKAGES for suffix in ("*.py", "*.yaml") for path in (ROOT / package).rglob(suffix)}
    assert set(listed) == {".".join(folder.relative_to(ROOT).parts) for folder in folders}
