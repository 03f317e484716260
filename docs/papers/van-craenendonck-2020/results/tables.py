"""Tables and charts of the runs of ``crossfit.py``: values, intervals and tests over all 54 photographs.

``python docs/papers/van-craenendonck-2020/results/tables.py`` reads the runs and writes the folders ``tables`` and
``charts`` beside this file. The photographs that the networks of a cross-validation left out are joined: each has one
value for each method. The layer of Grad-CAM and the preset of LRP are selected for each fold on the photographs of the
other folds.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from charts import METRICS, MODEL_FREE, draw_candidates, draw_lesions, draw_methods, draw_ranks
from crossfit import FINDINGS, MODELS, RUNS, SIZES, checkpoint_of, control_of, folds_of, folds_run, left_out
from scipy.stats import kendalltau

from heatproof.digests import file_digest
from heatproof.registry.catalog import default
from heatproof.results.finished import Results
from heatproof.results.scores import NAME_COLUMNS, Cases, ScoredCombination
from heatproof.results.summary import ResultTable, SummarySettings, results, values

HERE = Path(__file__).resolve().parent
SELECTED = {"lrp": "LRP", "gradcam": "Grad-CAM"}
"""Method → its name once a preset or a layer is selected."""
SETTINGS = SummarySettings(seed=0)
TITLES = [model["name"] for model in MODELS.values()]
Row = dict[str, Any]
KEPT = ("value", "low", "high", "n_valid", "n_failed", "n_invalid", "n_excluded")


@dataclass(frozen=True)
class Part:
    """The scores of one run: its fold (0 for a control), and the rows of its table."""

    fold: int
    results: Results
    rows: Sequence[Row]


def parts_of(network: str, control: bool) -> list[Part]:
    """The finished runs of a network."""
    folds = [0] if control else sorted(folds_run(network, control))
    return [_part(network, fold) for fold in folds]


def _part(network: str, fold: int) -> Part:
    finished = Results(RUNS / "van-craenendonck-2020-results" / f"{network}-{fold or 'random'}", default())
    rows = finished.query(
        'select metric, explainer, measure, "case", patient, value, status, metric_settings from scores order by all'
    )
    return Part(fold, finished, rows)


def joined(name: str, parts: Sequence[Part], photographs: set[str]) -> dict[tuple[str, str], Cases]:
    """(metric, explainer) → the cases of all parts; raises ``ValueError`` unless each photograph is in one part."""
    gathered: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for part in parts:
        for row in part.rows:
            cases = gathered.setdefault((row["metric"], row["explainer"]), {})
            cases.setdefault(row["case"], []).append(row | {"fold": part.fold})
    weights = {(row["metric"], row["metric_settings"]) for part in parts for row in part.rows}
    if len(weights) != len(METRICS):
        raise ValueError(f"{name}: the runs have other lesion weights than each other.")
    for (metric, explainer), cases in gathered.items():
        folds = [{row["fold"] for row in rows} for rows in cases.values()]
        if cases.keys() != photographs or any(len(members) > 1 for members in folds):
            raise ValueError(f"{name} × {explainer} by {metric} does not have each photograph once.")
    components = {
        row["metric"]: parts[0].results.component("metric", json.loads(row["metric_settings"])) for row in parts[0].rows
    }
    return {
        (metric, explainer): _cases(name, metric, components[metric], explainer, cases)
        for (metric, explainer), cases in gathered.items()
    }


def _cases(name: str, metric: str, component: Any, explainer: str, rows_of: Mapping[str, Sequence[Row]]) -> Cases:
    ids = sorted(rows_of)
    measures = [component.primary, *FINDINGS]
    columns: dict[str, list[float]] = {measure: [] for measure in measures}
    statuses: dict[str, list[str]] = {measure: [] for measure in measures}
    for id in ids:
        by_measure = {row["measure"]: row for row in rows_of[id]}
        for measure in measures:
            row = by_measure.get(measure)
            valid = row is not None and row["status"] == "valid"
            columns[measure].append(float(row["value"]) if row is not None and valid else np.nan)
            statuses[measure].append(row["status"] if row is not None else by_measure[component.primary]["status"])
    patients = tuple(rows_of[id][0]["patient"] for id in ids)
    arrays = {measure: np.array(column) for measure, column in columns.items()}
    scored = _scored(name, metric, component, explainer)
    return Cases(scored, tuple(ids), patients, arrays, statuses, statuses[component.primary], [""] * len(ids))


def _scored(name: str, metric: str, component: Any, explainer: str) -> ScoredCombination:
    free = explainer in MODEL_FREE
    model = "" if free else name
    columns = dict.fromkeys(NAME_COLUMNS, "") | {"dataset": "idrid", "split": "tuning", "model": model}
    columns |= {"explainer": explainer, "verdict": "", "combination": f"{model} × {explainer}"}
    baseline = explainer == "random"
    return ScoredCombination(columns, component, metric, (), baseline, dataset="idrid", model=model, family=metric)


def method_of(explainer: str) -> str:
    """The method of an explainer without its setting."""
    return explainer.partition("(")[0]


def setting_of(explainer: str) -> str:
    """The layer or the preset of an explainer; the label leaves out the preset that is LRP's default."""
    return explainer.partition("=")[2].removesuffix(")") or "sequential_preset_a"


def selected(
    name: str, cases: Mapping[tuple[str, str], Cases], folds: Mapping[str, int]
) -> tuple[dict[tuple[str, str], Cases], list[Row]]:
    """The cases with a selected candidate in place of all candidates, and which one each fold has.

    The candidate of a fold has the largest mean over the photographs of the other folds; one without a value for one of
    the 54 photographs cannot be selected.
    """
    chosen: dict[tuple[str, str], Cases] = {}
    choices: list[Row] = []
    for metric in METRICS:
        of_metric = {explainer: entry for (label, explainer), entry in cases.items() if label == metric}
        for method, title in SELECTED.items():
            candidates = {
                explainer: entry for explainer, entry in of_metric.items()
                if method_of(explainer) == method and not np.isnan(entry.values["combined"]).any()
            }  # fmt: skip
            chosen[metric, title], rows = _crossed(candidates, folds, title)
            choices += [{"network": name, "weights": metric, "method": title, **row} for row in rows]
        for explainer, entry in of_metric.items():
            if method_of(explainer) not in SELECTED:
                chosen[metric, explainer] = entry
    return chosen, choices


def _crossed(candidates: Mapping[str, Cases], folds: Mapping[str, int], title: str) -> tuple[Cases, list[Row]]:
    """The cases of the candidates that are selected without the fold of each case, and the choices."""
    first = next(iter(candidates.values()))
    fold = np.array([folds[id] for id in first.ids])
    joint = {measure: np.full(len(fold), np.nan) for measure in first.values}
    rows = []
    for number in sorted(set(fold)):
        outside = fold != number
        means = {label: float(entry.values["combined"][outside].mean()) for label, entry in candidates.items()}
        best = max(means, key=lambda label: means[label])
        for measure, values_of in candidates[best].values.items():
            joint[measure][~outside] = values_of[~outside]
        rows.append(
            {"fold": int(number), "selected": setting_of(best), "value_on_others": means[best], "of": len(means)}
        )
    scored = first.scored
    columns = {**scored.columns, "explainer": title, "combination": f"{scored.columns['model']} × {title}"}
    statuses = {
        measure: ["valid" if value == value else "excluded" for value in column] for measure, column in joint.items()
    }
    scored = replace(scored, columns=columns)
    return Cases(scored, first.ids, first.patients, joint, statuses, ["valid"] * len(fold), [""] * len(fold)), rows


def write(name: str, rows: Sequence[Row], columns: Sequence[str] | None = None) -> None:
    """Write a table; numbers have four digits after the point, p-values four that count."""
    columns = columns or list(rows[0])
    path = HERE / "tables" / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(column, row[column]) for column in columns] for row in rows)


def _cell(column: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if np.isnan(value):
        return ""
    return f"{value:.4g}" if column.startswith("p") else f"{value:.4f}"


def fold_of(network: str, control: bool) -> dict[str, int]:
    """Photograph → the fold that left it out; controls are selected by the same folds."""
    return {photograph: fold for fold, members in folds_run(network, control).items() for photograph in members}


@dataclass(frozen=True)
class Network:
    """All cases of a network and of its control, with selected candidates and all of them, by (metric, explainer)."""

    name: str
    trained: Mapping[tuple[str, str], Cases]
    control: Mapping[tuple[str, str], Cases]
    candidates: Mapping[tuple[str, str], Cases]
    candidates_of_control: Mapping[tuple[str, str], Cases]
    choices: Sequence[Row]


def network_of(key: str) -> Network:
    """Read the runs of a network and of its control."""
    title = str(MODELS[key]["name"])
    folds = fold_of(key, control=False)
    candidates = joined(title, parts_of(key, control=False), set(folds))
    of_control = joined(control_of(key), parts_of(key, control=True), set(fold_of(key, control=True)))
    trained, choices = selected(title, candidates, folds)
    control, choices_of_control = selected(control_of(key), of_control, folds)
    return Network(title, trained, control, candidates, of_control, [*choices, *choices_of_control])


def tables_of(network: Network) -> tuple[list[Row], list[Row]]:
    """The summary of a network and its control, and each method beside its control and the maps of no network."""
    alone = results(list(network.trained.values()), SETTINGS)
    same = [_on(entry, network.control[key].ids) for key, entry in network.trained.items() if not _free(key)]
    beside = results([*same, *network.control.values()], SETTINGS)
    rows = []
    for metric, method in network.trained:
        if not _free((metric, method)):
            name = f"{network.name} × {method}"
            rows += [_against(alone, metric, name, f" × {free}") for free in MODEL_FREE]
            rows.append(_against(beside, metric, name, f"{network.name}, random weights × {method}"))
    controls = [row for row in beside["summary"].rows if "random weights" in row["model"]]
    return [*alone["summary"].rows, *controls], rows


def _free(key: tuple[str, str]) -> bool:
    """Whether the map of a metric and an explainer knows no network."""
    return key[1] in MODEL_FREE


def _on(cases: Cases, ids: Sequence[str]) -> Cases:
    """Some of the cases."""
    kept = np.isin(cases.ids, ids)
    statuses = {name: np.array(column)[kept].tolist() for name, column in cases.statuses.items()}
    values_of = {name: column[kept] for name, column in cases.values.items()}
    patients = tuple(np.array(cases.patients)[kept].tolist())
    return Cases(cases.scored, tuple(np.array(cases.ids)[kept].tolist()), patients, values_of, statuses,
                 statuses["combined"], [""] * int(kept.sum()))  # fmt: skip


def _against(tables: Mapping[str, ResultTable], metric: str, one: str, other: str) -> Row:
    """The difference of a combination to another one."""
    pairs = {(row["metric"], row["combination_a"], row["combination_b"]): row for row in tables["comparisons"].rows}
    sign = 1 if (metric, one, other) in pairs else -1
    row = pairs[metric, one, other] if sign == 1 else pairs[metric, other, one]
    ends = sorted((sign * row["low"], sign * row["high"]))
    return {
        "weights": metric, "combination": one, "other": other.removeprefix(" × "),
        "difference": sign * row["difference"],
        "low": ends[0], "high": ends[1], "p": row["p"], "p_holm": row["p_holm"], "n_cases": row["n_cases"],
    }  # fmt: skip


def summary_rows(summary: Iterable[Row], size: int) -> Iterator[Row]:
    """The rows of the main table: the score, and that of each lesion; ``size`` is that of the photographs."""
    for row in summary:
        yield {
            "weights": row["metric"], "network": row["model"] or f"none, {size} pixels", "method": row["explainer"],
            "measure": row["measure"], **{name: row[name] for name in KEPT},
            "difference_to_random": row["difference_to_random"], "p_random_holm": row["p_random_holm"],
        }  # fmt: skip


def candidate_rows(network: Network, method: str, order: Sequence[str] = ()) -> list[Row]:
    """The values of all presets or layers, of the network and of its control; ``order`` is that of layers."""
    rows = []
    for candidates in (network.candidates, network.candidates_of_control):
        cases = [entry for (_, explainer), entry in candidates.items() if method_of(explainer) == method]
        for row in values(cases, SETTINGS):
            if row["measure"] == "combined":
                names = {"weights": row["metric"], "network": row["model"], "candidate": setting_of(row["explainer"])}
                rows.append({**names, **{name: row[name] for name in KEPT}})
    if order:
        rows.sort(key=lambda row: order.index(row["candidate"]))
    return rows


def layers_of(key: str) -> tuple[str, ...]:
    """The layers of a network, in order of evaluation."""
    settings = {name: value for name, value in MODELS[key].items() if name not in ("use", "name")}
    model: Any = default().create("model", str(MODELS[key]["use"]), settings)
    return tuple(model.layers())


def write_overview(rows: Sequence[Row]) -> None:
    """Write the table of the page: the score of each method, and in brackets that of its control."""
    for metric, name in zip(METRICS, ("overview", "overview_masks")):
        shown = {(row["network"], row["method"]): row for row in rows
                 if (row["measure"], row["weights"]) == ("combined", metric)}  # fmt: skip
        methods = [method for network, method in shown if network == TITLES[0] and method not in MODEL_FREE]
        lines = ["| | " + " | ".join(TITLES) + " |", "|---|" + "---|" * len(TITLES)]
        for method in methods:
            cells = [f"{_range(shown[title, method])} [{shown[control_of(key), method]['value']:.2f}]"
                     for key, title in zip(MODELS, TITLES)]  # fmt: skip
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        for free in MODEL_FREE:
            cells = [_range(shown[f"none, {SIZES[key]} pixels", free]) for key in MODELS]
            lines.append(f"| `{free}` | " + " | ".join(cells) + " |")
        (HERE / "tables" / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _range(row: Row) -> str:
    return f"{row['value']:.2f} ({row['low']:.2f}–{row['high']:.2f})"


def ranks(rows: Sequence[Row]) -> list[Row]:
    """The rank of every trained combination by both weights, over all networks."""
    value: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["measure"] == "combined" and row["method"] not in MODEL_FREE and row["network"] in TITLES:
            value.setdefault((row["network"], row["method"]), {})[row["weights"]] = row["value"]
    rank: dict[str, dict[tuple[str, str], int]] = {}
    for metric in METRICS:
        order = sorted(value, key=lambda pair: -value[pair][metric])
        rank[metric] = {pair: number for number, pair in enumerate(order, 1)}
    published, masks = METRICS
    return [
        {"network": pair[0], "method": pair[1], "published": value[pair][published], "masks": value[pair][masks],
         "rank_published": rank[published][pair], "rank_masks": rank[masks][pair],
         "change": rank[masks][pair] - rank[published][pair]}
        for pair in sorted(value, key=lambda pair: rank[published][pair])
    ]  # fmt: skip


def agreement_rows(ranked: Sequence[Row]) -> list[Row]:
    """Kendall's tau between the two orders, of each network and of all."""
    rows = []
    for network in [*dict.fromkeys(row["network"] for row in ranked), "all"]:
        members = [row for row in ranked if network in ("all", row["network"])]
        tau = kendalltau([row["published"] for row in members], [row["masks"] for row in members]).statistic
        largest = max(abs(row["change"]) for row in members)
        rows.append({"network": network, "methods": len(members), "kendall_tau": float(tau), "largest_change": largest})
    return rows


def provenance() -> list[Row]:
    """The networks: fold, photographs, digest of the checkpoint, and areas under the curves of its test patches."""
    rows = []
    for key, model in MODELS.items():
        folder = folds_of(key)
        networks = json.loads((folder / "results.json").read_text(encoding="utf-8"))["networks"]
        for fold, photographs in left_out(folder).items():
            test = next(entry["test"] for entry in networks if entry["fold"] == fold)
            rows.append({
                "network": model["name"], "fold": fold, "photographs": len(photographs),
                "left_out": " ".join(name.removeprefix("IDRiD_") for name in photographs),
                **{f"auc_{finding}": float(test[finding]) if test.get(finding) is not None else np.nan
                   for finding in FINDINGS},
                "auc": float(test["auc"]), "checkpoint": file_digest(checkpoint_of(folder, fold)),
            })  # fmt: skip
    return rows


def main() -> None:
    """Write all tables and charts."""
    summary: dict[tuple[str, ...], Row] = {}
    differences: list[Row] = []
    layers: list[Row] = []
    presets: list[Row] = []
    choices: list[Row] = []
    for key in MODELS:
        network = network_of(key)
        rows, against = tables_of(network)
        for row in summary_rows(rows, SIZES[key]):
            summary.setdefault(tuple(row[name] for name in ("weights", "network", "method", "measure")), row)
        differences += against
        layers += candidate_rows(network, "gradcam", layers_of(key))
        presets += candidate_rows(network, "lrp")
        choices += network.choices
        print(f"{network.name}: done", flush=True)
    rows = sorted(summary.values(), key=lambda row: (row["weights"], row["measure"], row["network"], -row["value"]))
    ranked = ranks(rows)
    tables = {"summary": rows, "differences": differences, "layers": layers, "presets": presets, "choices": choices,
              "ranks": ranked, "rank_agreement": agreement_rows(ranked), "provenance": provenance()}  # fmt: skip
    for name, table in tables.items():
        write(name, table)
    write_overview(rows)
    charts = HERE / "charts"
    charts.mkdir(exist_ok=True)
    for metric, name in zip(METRICS, ("methods", "methods_masks")):
        draw_methods(rows, metric, charts / f"{name}.svg")
    draw_candidates(layers, "Grad-CAM at every layer, published weights", charts / "layers.svg")
    draw_candidates(presets, "The sixteen presets of LRP, published weights", charts / "presets.svg")
    draw_ranks(ranked, charts / "ranks.svg")
    draw_lesions(rows, charts / "lesions.svg")


if __name__ == "__main__":
    main()
