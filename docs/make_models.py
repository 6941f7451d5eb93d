"""`python docs/make_models.py`: writes docs/models.md from the registries, so that the table can not differ from the code."""

import inspect
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

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
    sections += [_together(), _presets()]
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
    options = {name: p for name, p in inspect.signature(piece).parameters.items() if name not in _GIVEN}
    words = [f"`{name.replace('_steps', '_epochs')}` {_plain(option.default)}{_choices(option)}" for name, option in options.items()]
    if "top" in inspect.signature(piece).parameters:
        words.insert(0, "`top` a prior")
    return ", ".join(words)


def _choices(option: inspect.Parameter) -> str:
    others = [str(word) for word in get_args(option.annotation) if get_origin(option.annotation) is Literal and word != option.default]
    return f" (or {', '.join(others)})" if others else ""


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


def _together() -> str:
    rows = []
    for name, objective in OBJECTIVES.items():
        rows += [f"| `{name}`{_when(options)} | {' '.join(sorted(needs))} |" for options, needs in _needs(objective)]
    lacks = []
    for axis, registry in (("posterior", POSTERIORS), ("prior", PRIORS)):
        for name, piece in registry.items():
            if isinstance(piece.lacks, dict):
                lacks += [f"| {axis} | `{name}` | {need} | {why} |" for need, why in piece.lacks.items()]
    return _TOGETHER.format(objectives="\n".join(rows), lacks="\n".join(lacks))


def _needs(objective: Any) -> list[tuple[dict[str, str], frozenset[str]]]:
    """Return what an objective asks for, by the words of those options that change it."""
    signature = inspect.signature(objective).parameters
    given = {"train_images": 1000} if "train_images" in signature else {}
    found: list[tuple[dict[str, str], frozenset[str]]] = []
    words = {name: get_args(p.annotation) for name, p in signature.items() if get_origin(p.annotation) is Literal}
    for name, choices in words.items() or {"": ("",)}.items():
        for word in choices:
            needs = objective(**given, **({name: word} if name else {})).needs
            if needs and (name not in ("kernel", "estimate", "kind") or word == choices[0]):
                found.append(({name: word} if len({objective(**given, **{name: w}).needs for w in choices if name}) > 1 else {}, needs))
    return found


def _when(options: dict[str, str]) -> str:
    return "".join(f", `{name}` {word}" for name, word in options.items())


def _presets() -> str:
    rows = []
    for name in preset_names():
        config, comment = preset(name), _comment(PRESETS / f"{name}.yaml")
        model, prior = config.model, config.model.prior
        top = f" under `{prior['top']['name']}`" if "top" in prior else ""
        label = f"given {model.condition['name']}" if model.condition else ""
        names = " | ".join(f"`{piece['name']}`" for piece in (model.likelihood, config.objective))
        latents = ", ".join(map(str, model.latent_dims))
        rows.append(f"| `{name}` | {comment} | {latents} | `{model.posterior['name']}` | `{prior['name']}`{top} | {names} | {label} |")
    return (
        "## Presets\n\n`python -m vae_tf train NAME --run FOLDER`; each is one file in `vae_tf/presets/`.\n\n"
        "| name | what, and its source | latents | posterior | prior | likelihood | objective | condition |\n"
        + "|---" * 8
        + "|\n"
        + "\n".join(rows)
    )


def _comment(path: Path) -> str:
    lines = [line.removeprefix("#").strip() for line in path.read_text().splitlines() if line.startswith("#")]
    return _joined(" ".join(lines))


_TOGETHER = """## What goes together

Some objectives ask a draw for more than its log densities, and not every piece can answer; the combination is refused, with a remedy.

| objective | asks for |
|---|---|
{objectives}

| axis | piece | can not tell | why, and what works |
|---|---|---|---|
{lacks}

`ladder` needs the prior `top-down`; `conditional-normal` needs a condition; `vampprior` takes none, and over several layers it stands on
top: `model.prior=top-down model.prior.top=vampprior`. A list of sizes as `model.latent_dim`, top first, needs a posterior or a prior of
layers."""

_INTRODUCTION = """# Pieces and presets

Made by `python docs/make_models.py` from the registries and their docstrings; a test fails when it is out of date.

A model is one piece of each axis, by name, with options; a paper is a line of configuration. Whatever the pieces, the generator is a
function of standard normal noise (and of a label, if there is a condition), and exports with the same signatures. Combinations that make no
sense are refused when they are built, with a remedy. In formulas x is an image, z a latent, S the number of samples, D the number of latent
coordinates."""


if __name__ == "__main__":
    main()
