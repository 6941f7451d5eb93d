import importlib
import pkgutil
import subprocess
import sys

import pytest

import serving

MODULES = sorted(info.name for info in pkgutil.walk_packages(serving.__path__, "serving.") if info.name != "serving.__main__")


def test_serving_runs_without_tensorflow_and_knows_neither_of_the_other_packages():
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'tf_keras', 'tensorflow_probability'): sys.modules[name] = None\n"
        f"import {', '.join(MODULES)}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'vae_tf', 'export', 'tensorflow_serving'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("name", ["serving", *MODULES])
def test_public_names_exist(name):
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public)
