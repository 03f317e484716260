"""Learning curves as a picture."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .results import Trained

STYLES = {"train": "-", "validation": "--", "test": ":"}
COLOURS = ("#14568c", "#b8442c", "#3a7d44", "#7b4ea3", "#a07818")


def drawn(networks: "Sequence[Trained]", select: str) -> bytes:
    """Draw the loss of each part by epoch, and the selected measure beside it, as PNG; the best epoch is marked."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(["loss", select]))
    figure = Figure(figsize=(4.5 * len(names) + 0.5, 3.2))
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    figure.subplots_adjust(0.5 / len(names) * 0.3 + 0.02, 0.16, 0.98, 0.95, wspace=0.3)
    for axes, name in zip(panels, names):
        for index, network in enumerate(networks):
            _draw(axes, network, name, COLOURS[index % len(COLOURS)])
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True)
        axes.set_ylabel(name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
    return stream.getvalue()


def _draw(axes: Any, network: "Trained", name: str, colour: str) -> None:
    for part, style in STYLES.items():
        points = [(row["epoch"] + 1, row[part][name]) for row in network.history if name in row.get(part, {})]
        if points:
            label = part
            if network.fold:
                label = f"{part}, fold {network.fold}"
            axes.plot(*zip(*points), style, color=colour, label=label, marker="o", markersize=2.5)
    axes.axvline(network.best + 1, color=colour, linewidth=0.7, alpha=0.5)
