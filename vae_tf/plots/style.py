"""What all diagrams share: colours, markers, type, and the file that they become."""

import io
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

__all__ = ["BLUE", "COLOURS", "GREY", "INK", "MARKERS", "MAX_CLASSES", "ORANGE", "PURPLE", "darker", "pixels", "plain", "styled", "svg"]

#: Ten colours that people with any kind of colour vision can tell apart (Petroff, 2021, arXiv:2107.02270), and a marker for each.
COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MARKERS = "os^Dv<P>X*"
MAX_CLASSES = len(COLOURS)
BLUE, ORANGE, GREY, PURPLE = COLOURS[0], COLOURS[6], COLOURS[3], COLOURS[4]

INK = "#010203"  # stands in for the colour of text until `svg` hands the choice to the reader
_INK_STYLE = "<style>svg{color:#1d2125}@media (prefers-color-scheme:dark){svg{color:#dfe3e8}}</style>"
_STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK),
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "font.family": "sans-serif",
    "font.size": 10.0,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "vae_tf",  # equal figures give equal bytes
}


def darker(colour: str) -> tuple[float, float, float]:
    """Return a darker shade, to outline what is filled with a colour that may be pale."""
    red, green, blue = to_rgb(colour)
    return 0.6 * red, 0.6 * green, 0.6 * blue


def plain(name: str) -> str:
    """Return a name that a user gave as matplotlib has it drawn as it is: a dollar sign would begin a formula."""
    return name.replace("$", r"\$")


def styled(draw: Callable) -> Callable:
    """Let a function draw in the style of the report, whatever matplotlib's settings are, and leave them alone."""
    return matplotlib.rc_context(_STYLE)(draw)


@styled
def pixels(figure: Figure) -> np.ndarray:
    """Return a figure as an image on white, uint8 [height, width, 4], RGBA."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@styled
def svg(figure: Figure) -> bytes:
    """Return a figure as an SVG file with a transparent ground; its ink is dark or light, as the reader's screen asks."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=200, transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue().replace(INK, "currentColor").replace("<defs>", f"{_INK_STYLE}<defs>", 1)
    return text[text.index("<svg") :].encode()
