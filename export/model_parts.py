"""What a model is made of, as the configuration in a provenance says it."""

from collections.abc import Mapping
from typing import Any

__all__ = ["model_parts"]

_PIECES = ("encoder", "decoder", "posterior", "likelihood", "prior")


def model_parts(origin: Mapping[str, Any]) -> dict[str, str]:
    """Return the parts of a model in words, with the options that its configuration names: part -> words.

    Args:
        origin: from `provenance`.
    """
    config = origin["config"]
    model, condition, latent = config["model"], config["model"].get("condition"), config["model"]["latent_dim"]
    layers = [latent] if isinstance(latent, int) else latent
    sizes = " + ".join(map(str, layers))
    return {
        "latent dimensions": f"{len(layers)} layers, top first: {sizes}" if len(layers) > 1 else sizes,
        **({} if condition is None else {"condition": _told(condition)}),
        **{axis: _told(model[axis]) for axis in _PIECES},
        "objective": _told(config["objective"]),
    }


def _told(piece: Mapping[str, Any]) -> str:
    values = {key: _told(value) if isinstance(value, Mapping) and "name" in value else value for key, value in piece.items()}
    options = ", ".join(f"{key} {value}" for key, value in values.items() if key != "name")
    return f"{piece['name']} ({options})" if options else piece["name"]
