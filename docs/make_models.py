"""`python docs/make_models.py`: writes docs/models.md from the registries, so that the table can not differ from the code."""

import inspect
import re
from pathlib import Path
from typing import Any

from vae_tf.build import build_model
from vae_tf.condition import CONDITIONS
from vae_tf.config import Config, preset, preset_names
from vae_tf.errors import ConfigError
from vae_tf.likelihood import LIKELIHOODS
from vae_tf.networks import DECODERS, ENCODERS
from vae_tf.objective import OBJECTIVES
from vae_tf.posterior import POSTERIORS
from vae_tf.prior import PRIORS

TARGET = Path(__file__).with_name("models.md")
PRESETS = Path(__file__).parent.parent / "vae_tf" / "presets"

_EXPORTED, _TRAINING = "SavedModel, ONNX", "nothing: training only"
_AXES = (
    ("Priors", "model.prior", "p(z), with the map that makes it from standard normal noise", PRIORS, _EXPORTED),
    ("Likelihoods", "model.likelihood", "p(x given z); a draw takes one uniform number per value of the image", LIKELIHOODS, _EXPORTED),
    ("Decoders", "model.decoder", "latents to features of the likelihood", DECODERS, _EXPORTED),
    ("Conditions", "model.condition", "what a label is; the generator takes `label` beside `z`", CONDITIONS, _EXPORTED),
    (
        "Posteriors",
        "model.posterior",
        "q(z given x)",
        POSTERIORS,
        f"{_TRAINING}; as components of a VampPrior, constants in the graph",
    ),
    ("Encoders", "model.encoder", "images to features of the posterior", ENCODERS, _TRAINING),
    ("Objectives", "objective", "what is maximised", OBJECTIVES, _TRAINING),
)
_GIVEN = {
    "image_shape",
    "latent_dim",
    "latent_dims",
    "levels",
    "condition_size",
    "conditional",
    "inference",
    "label_size",
    "train_images",
    "top",
}
_SIZES = ({"latent_dim": 40}, {"latent_dim": [20, 40]}, {"latent_dim": 40, "condition": "classes"})


def main() -> None:
    """Write the document."""
    TARGET.write_text(document())


def document() -> str:
    """Return the whole document."""
    sections = [_INTRODUCTION]
    for title, key, what, registry, exports in _AXES:
        noise = "| noise, for example " if registry is PRIORS else ""
        sections.append(f"## {title}\n\n`{key}`: {what}. Exports to: {exports}.\n\n| name | formula | options {noise}| source |")
        sections[-1] += "\n" + "|---" * (5 if noise else 4) + "|\n"
        sections[-1] += "\n".join(_row(name, piece, _noise(name) if noise else None) for name, piece in registry.items())
    sections.append(_presets())
    return "\n\n".join(sections) + "\n"


def _row(name: str, piece: Any, noise: str | None) -> str:
    text = inspect.getdoc(piece) or ""
    source = re.search(r"^Source: (.*?)\Z", text, re.DOTALL | re.MULTILINE)
    cells = [
        f"`{name}`",
        _joined(text.split("\n\n")[0]),
        _options(piece),
        *([noise] if noise else []),
        _joined(source.group(1)) if source else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _joined(text: str) -> str:
    return " ".join(text.split()).removesuffix(".").replace("|", "\\|")


def _options(piece: Any) -> str:
    options = {name: p.default for name, p in inspect.signature(piece).parameters.items() if name not in _GIVEN}
    words = [f"`{name.replace('_steps', '_epochs')}` {_plain(default)}" for name, default in options.items()]
    if "top" in inspect.signature(piece).parameters:
        words.insert(0, "`top` a prior")
    return ", ".join(words)


def _plain(default: Any) -> str:
    if isinstance(default, tuple):
        return str(list(default))
    return str(default).lower() if isinstance(default, bool) else str(default)


def _noise(prior: str) -> str:
    for sizes in _SIZES:
        config = Config.from_dict({"data": {"source": "digits"}, "model": {"prior": prior, **sizes}})
        try:
            layout = build_model(config, (8, 8, 1), 2, label_size=10).generator.noise_layout
        except ConfigError:
            continue
        return ", ".join(f"{name} {size}" for name, size in layout.items())
    raise ConfigError(f"`{prior}` could not be built with any of {_SIZES}.")


def _presets() -> str:
    rows = []
    for name in preset_names():
        config, comment = preset(name), _comment(PRESETS / f"{name}.yaml")
        pieces = (config.model.posterior, config.model.prior, config.model.likelihood, config.objective)
        names = " | ".join(f"`{piece['name']}`" for piece in pieces)
        rows.append(f"| `{name}` | {comment} | {names} |")
    return (
        "## Presets\n\n`python -m vae_tf train NAME --run FOLDER`; each is one file in `vae_tf/presets/`.\n\n"
        "| name | what, and its source | posterior | prior | likelihood | objective |\n|---|---|---|---|---|---|\n" + "\n".join(rows)
    )


def _comment(path: Path) -> str:
    lines = [line.removeprefix("#").strip() for line in path.read_text().splitlines() if line.startswith("#")]
    return _joined(" ".join(lines))


_INTRODUCTION = """# Pieces and presets

Made by `python docs/make_models.py` from the registries and their docstrings; a test fails when it is out of date.

A model is one piece of each axis, by name, with options; a paper is a line of configuration. Whatever the pieces, the generator is a
function of standard normal noise (and of a label, if there is a condition), and exports with the same signatures. Combinations that make no
sense are refused when they are built, with a remedy. In formulas x is an image, z a latent, S the number of samples, D the number of latent
coordinates."""


if __name__ == "__main__":
    main()
