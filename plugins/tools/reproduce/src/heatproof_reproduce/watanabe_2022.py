"""The tables of Watanabe et al. 2022, their four panels, and the decisions of the best model to look at again."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heatproof.records import Array
from heatproof.results.finished import Results

from .maps import Maps, maps_of, show_heat, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .reproduction import Reproduction

MODELS: Mapping[str, str] = {
    "baseline": "gradcam", "encoder": "gradcam",
    "set-1-guided-backprop": "guided_backprop", "set-1-deconvnet": "deconvnet",
    "set-2-guided-backprop": "guided_backprop", "set-2-deconvnet": "deconvnet",
    "set-3-guided-backprop": "guided_backprop", "set-3-deconvnet": "deconvnet",
}  # fmt: skip
"""Model → the explainer of its panel: its generator, or Grad-CAM where it has none."""
COLUMNS: Mapping[str, str] = {"average": "auc", "Normal": "Normal", "CHF": "CHF", "pneumonia": "pneumonia"}
"""Column of the tables → the measure of ``auc``."""
STEPS: Mapping[str, str] = {"tables": "95 % interval over patients", "tables-parity": "interval of the paper"}
"""Step → the kind of its intervals."""
GAZE = "gaze"
RANGE = (-0.03, 1.03)
"""The ends of axes of shares."""
SHOWN = 25
"""The most cases that the figure lists; its table has all."""


def tables(reproduction: "Reproduction") -> "tuple[Figure, list[dict[str, Any]]]":
    """Draw the eight rows and four columns of tables 1 to 5, with both kinds of interval, those of parity flagged."""
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    rows = [row for step, kind in STEPS.items() for row in _areas(reproduction.results(step), kind)]
    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    for axes, kind in zip(figure.subplots(2, 1), STEPS.values()):
        chosen = [row for row in rows if row["interval"] == kind]
        flags = "; ".join(dict.fromkeys(row["flag"] for row in chosen if row["flag"]))
        cells = [[name, *(_cell(chosen, name, column) for column in COLUMNS)] for name in MODELS]
        axes.set_axis_off()
        drawn = axes.table(
            cells, colLabels=["model", *COLUMNS], loc="center", cellLoc="left", bbox=Bbox.from_bounds(0, 0, 1, 1)
        )
        drawn.auto_set_font_size(False)
        drawn.set_fontsize(8)
        axes.set_title(f"AUC, {kind}" + (f"\nflag: {flags}" if flags else ""), fontsize=8, wrap=True)
    figure.suptitle("Tables 1 to 5" + (" (synthetic twin)" if reproduction.synthetic else ""))
    return figure, rows


def _areas(results: Results, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the areas of all models and columns."""
    summary = {(row["model"], row["measure"]): row for row in results.summary if row["metric"] == "auc"}
    for model in MODELS:
        for column, measure in COLUMNS.items():
            row = summary[model, measure]
            values = {name: row[name] for name in ("value", "low", "high", "n_valid", "flag")}
            yield {"interval": kind, "model": model, "column": column} | values


def _cell(rows: Sequence[Mapping[str, Any]], model: str, column: str) -> str:
    row = next(row for row in rows if (row["model"], row["column"]) == (model, column))
    if row["value"] != row["value"]:
        return "undefined"
    return f"{row['value']:.3f} ({row['low']:.3f}, {row['high']:.3f})"


def winner(results: Results) -> str:
    """Name the model with the largest average area; of equal ones the first, and those without an area last."""
    averages = {row["model"]: row["value"] for row in _areas(results, "") if row["column"] == "average"}
    return max(MODELS, key=lambda model: averages[model] if averages[model] == averages[model] else -1.0)


def panels(reproduction: "Reproduction") -> "tuple[Figure, list[dict[str, Any]]]":
    """Draw image, heatmap, gaze and mask of each model, for one image of the test part."""
    from matplotlib.figure import Figure

    results = reproduction.results("tables")
    maps = {name: maps_of(results, name, explainer) for name, explainer in MODELS.items()}
    case = _shown_case(maps[winner(results)])
    figure = Figure(figsize=(6.2, 1.6 * len(MODELS)), layout="constrained")
    rows = []
    for axes, (name, explainer) in zip(figure.subplots(len(MODELS), 4), MODELS.items()):
        rows.append(_four(axes, maps[name], case, name, explainer))
    label = f"{rows[0]['label']} ({case}" + (", synthetic twin)" if reproduction.synthetic else ")")
    figure.suptitle(label, fontsize=9)
    return figure, rows


def _shown_case(maps: Maps) -> str:
    """The first case that the model decides rightly as not normal; the first of all where there is none."""
    names = {case: maps.names(case) for case in sorted(maps.rows)}
    right = [case for case, name in names.items() if name["label"] == name["predicted"] != "Normal"]
    return (right or list(names))[0]


def _four(axes: Sequence["Axes"], maps: Maps, case: str, name: str, explainer: str) -> dict[str, Any]:
    """Draw the four panels of a model, and return its row of the table."""
    sample = maps.sample(case)
    heat = maps.heatmap(case)
    gaze = np.sum([entry.values for entry in sample.annotations if entry.finding == GAZE], axis=0)
    mask = predicted_mask(maps, case)
    names = maps.names(case)
    show_image(axes[0], sample.image)
    show_heat(axes[1], heat)
    show_heat(axes[2], gaze)
    axes[3].set_axis_off()
    if mask is not None:
        show_heat(axes[3], mask)
    titles = (f"{name}\n{names['predicted']}", explainer, "gaze", "mask" if mask is not None else "no mask")
    for plot, title in zip(axes, titles):
        plot.set_title(title, fontsize=7)
    return {
        "model": name, "case": case, **names, "explainer": explainer,
        "correlation of heatmap and gaze": _correlation(heat, gaze),
        "correlation of mask and gaze": None if mask is None else _correlation(mask, gaze),
    }  # fmt: skip


def predicted_mask(maps: Maps, case: str) -> Array | None:
    """Compute the mask (h, w) of a network in shares from 0 to 1; None for a network without one."""
    import torch

    model = maps.results.component("model", maps.units[0]["model"])
    sample = maps.sample(case)
    network = model.network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        outputs = model.forward(torch.from_numpy(sample.image)[None].to(device))
    if "mask" not in outputs:
        return None
    return np.asarray(outputs["mask"][0, 0].sigmoid().cpu().numpy())


def _correlation(first: Array, second: Array) -> float | None:
    """Pearson's correlation of two maps; None where one is constant."""
    if not first.std() or not second.std():
        return None
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def rejection(reproduction: "Reproduction") -> "tuple[Figure, list[dict[str, Any]]]":
    """Draw which decisions of the best model DOCTOR rejects: the curve, and the cases to look at again.

    The rows are all decisions, least sure first; those above gamma are rejected.
    """
    from matplotlib.figure import Figure

    results = reproduction.results("tables")
    model = winner(results)
    gamma, rows = second_look(results, model, _decisions(reproduction.folder(model) / "predictions.csv"))
    figure = Figure(figsize=(8.5, 5), layout="constrained")
    plot, listed = figure.subplots(1, 2)
    _draw_curve(plot, rows)
    listed.set_axis_off()
    rejected = [row for row in rows if row["rejected"]][:SHOWN]
    lines = [f"{row['case']}: {row['label']} decided as {row['decision']}, {row['alpha']:.2f}" for row in rejected]
    head = f"alpha above {gamma:g}: {sum(row['rejected'] for row in rows)} of {len(rows)} images for a second look"
    listed.text(0, 1, "\n".join([head, "", *lines]), va="top", fontsize=7, transform=listed.transAxes)
    figure.suptitle(f"DOCTOR on {model}" + (" (synthetic twin)" if reproduction.synthetic else ""))
    return figure, rows


def second_look(
    results: Results, model: str, decisions: Mapping[str, Mapping[str, str]]
) -> tuple[float, list[dict[str, Any]]]:
    """Return gamma, and the decisions of a model by their statistic alpha, least sure first.

    ``decisions``: case → its ``label`` and the model's ``decision``.
    """
    scored = results.query(
        "select \"case\", combination, metric, measure, value from scores where metric = 'doctor' and model = ? "
        "and status = 'valid' order by all",
        model,
    )
    described = results.described[scored[0]["combination"], scored[0]["metric"]]
    values: dict[str, dict[str, float]] = {}
    for row in scored:
        values.setdefault(row["case"], {})[row["measure"]] = row["value"]
    gamma = float(described["metric_settings"]["gamma"])
    rows = [
        {"case": case, **decisions[case], "wrong": bool(entry["wrong"]), "alpha": entry["alpha"], "beta": entry["beta"],
         "rejected": entry["alpha"] > gamma}
        for case, entry in values.items()
    ]  # fmt: skip
    return gamma, sorted(rows, key=lambda row: (-row["alpha"], row["case"]))


def _decisions(path: Path) -> dict[str, dict[str, str]]:
    """Case → the names of its label and of the model's decision, from the predictions of a training's test part."""
    with open(path, newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["part"] == "test"]
    return {row["sample"]: {"label": row["label"], "decision": row["decision"]} for row in rows}


def _draw_curve(plot: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the share of right decisions over the share of wrong ones that are rejected, for all thresholds."""
    plot.set(xlabel="wrong decisions rejected (TRR)", ylabel="right decisions rejected (FRR)", xlim=RANGE, ylim=RANGE)
    for statistic, colour in (("alpha", "#14568c"), ("beta", "#8a5a00")):
        points = rejected_shares([row[statistic] for row in rows], [row["wrong"] for row in rows])
        if points is None:
            plot.text(0.5, 0.5, "no wrong (or no right) decision", ha="center", fontsize=8)
            return
        plot.step(points[0], points[1], where="post", color=colour, label=statistic)
    plot.legend(frameon=False)


def rejected_shares(statistic: Sequence[float], wrong: Sequence[bool]) -> Array | None:
    """Return the shares (2, thresholds) of wrong and of right decisions at or above each threshold, falling.

    None where all decisions are right, or all wrong.

    >>> rejected_shares([3, 2, 1], [True, False, True]).tolist()
    [[0.0, 0.5, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]]
    """
    bad = np.asarray(wrong, dtype=bool)
    values = np.asarray(statistic, dtype=np.float64)
    if bad.all() or not bad.any():
        return None
    thresholds = np.unique(values)[::-1]
    shares = [[(values[part] >= threshold).mean() for threshold in thresholds] for part in (bad, ~bad)]
    return np.insert(np.asarray(shares), 0, 0.0, axis=1)
