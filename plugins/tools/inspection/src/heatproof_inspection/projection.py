"""Projections of features to a plane: principal components, t-SNE and UMAP."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.model import Model
from heatproof.records import Array
from heatproof_inspectors.inspection import Inspection, Points
from heatproof_inspectors.inspector import Inspector
from heatproof_inspectors.subject import Subject

from .cases import columns, drawn, features, label_remark, remark, require_cases
from .drawing import scatter

SEEDS = 2**31 - 1
METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


class ProjectionParams(Params):
    """``perplexity`` is of t-SNE and ``neighbours`` of UMAP; ``pca_first`` reduces the features to so many components.

    At most ``limit`` cases, drawn by the seed, are projected.
    """

    layer: str = "last"
    method: Literal["pca", "tsne", "umap"] = "pca"
    perplexity: Annotated[float, Field(ge=1, le=10_000)] = 30.0
    neighbours: Annotated[int, Field(ge=2, le=10_000)] = 15
    pca_first: Annotated[int, Field(ge=2, le=10_000)] | None = None
    limit: Annotated[int, Field(ge=3, le=100_000)] = 5000


P = TypeVar("P", bound=ProjectionParams, covariant=True)


@dataclass(frozen=True)
class Components:
    """Principal components: ``scores`` (n, count), ``axes`` (count, channel) with unit length, and ``variances``.

    ``variances`` and ``ratios`` (rank,) are of all components, in descending order; ratios sum to 1.
    """

    scores: Array
    axes: Array
    variances: Array
    ratios: Array


@dataclass(frozen=True)
class Plane:
    """Cases ``rows`` (m,) at ``positions`` (m, 2); ``sentences`` say how, and ``ratios`` are those of PCA."""

    rows: Array
    positions: Array
    axes: tuple[str, str]
    sentences: tuple[str, ...]
    ratios: Array | None = None


def components(values: Array, count: int) -> Components:
    """Return the first ``count`` principal components of values (n, channel), by scikit-learn.

    The largest loading of an axis is positive, so that signs are the same everywhere.

    >>> components(np.array([[2.0, 0], [0, 1], [-2, 0], [0, -1]]), 2).ratios.round(3).tolist()
    [0.8, 0.2]
    """
    from sklearn.decomposition import PCA

    solver = "full"
    if len(values) > values.shape[1]:
        solver = "covariance_eigh"
    fitted = PCA(svd_solver=solver).fit(values)
    axes = fitted.components_[:count]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    axes = axes * signs[:, None]
    scores = (values - fitted.mean_) @ axes.T
    return Components(scores, axes, fitted.explained_variance_, fitted.explained_variance_ratio_)


def tsne(values: Array, perplexity: float, seed: int) -> tuple[Array, float]:
    """Return positions (n, 2) by t-SNE (van der Maaten and Hinton 2008), begun at PCA, and the divergence reached."""
    from sklearn.manifold import TSNE

    embedding = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    return embedding.fit_transform(values), float(embedding.kl_divergence_)


def umap(values: Array, neighbours: int, seed: int) -> Array:
    """Return positions (n, 2) by UMAP (McInnes et al. 2018), on one thread, as the seed demands."""
    from umap import UMAP

    return np.asarray(UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(values))


class Planar(Inspector[P]):
    """Base of inspectors that project the features of a layer to a plane."""

    def layers(self, model: Model) -> tuple[str, ...]:
        """Return the layer."""
        return (model.layer(self.params.layer),)

    def values(self, subject: Subject) -> tuple[Array, Array]:
        """Return the rows (m,) of the drawn cases and their features (m, channel); raises ``DataError``."""
        rows = drawn(subject, self.params.limit)
        return rows, features(subject, subject.model.layer(self.params.layer), rows)

    def plane(self, subject: Subject) -> Plane:
        """Project the features; the same settings and seed give the same plane in every inspector.

        Raises ``DataError`` for fewer cases or channels than the method needs.
        """
        rows, values = self.values(subject)
        self._require(rows, values)
        layer = subject.model.layer(self.params.layer)
        sentences: tuple[str, ...] = (f"{len(rows)} cases with {values.shape[1]} features each at layer {layer}.",)
        if self.params.pca_first:
            reduced = components(values, self.params.pca_first)
            values = reduced.scores
            share = reduced.ratios[: self.params.pca_first].sum()
            sentences += (f"First reduced to {values.shape[1]} principal components with {share:.1%} of the variance.",)
        return self._projected(subject, rows, values, sentences)

    def _projected(self, subject: Subject, rows: Array, values: Array, sentences: tuple[str, ...]) -> Plane:
        seed = int(subject.generator("projection", self.params.method).integers(SEEDS))
        if self.params.method == "pca":
            result = components(values, 2)
            first, second = result.ratios[:2]
            text = f"The first two principal components hold {first:.1%} and {second:.1%} of the variance."
            axes = (f"component 1 ({first:.1%})", f"component 2 ({second:.1%})")
            return Plane(rows, result.scores, axes, (*sentences, text), result.ratios)
        if self.params.method == "tsne":
            positions, divergence = tsne(values, self.params.perplexity, seed)
            text = f"t-SNE with perplexity {self.params.perplexity:g} reached a divergence of {divergence:.3g}."
        else:
            positions = umap(values, self.params.neighbours, seed)
            text = f"UMAP with {self.params.neighbours} neighbours."
        name = METHODS[self.params.method]
        return Plane(rows, positions.astype(np.float64), (f"{name} 1", f"{name} 2"), (*sentences, text))

    def _require(self, rows: Array, values: Array) -> None:
        require_cases(rows, 3, "a plane")
        if self.params.method == "tsne":
            require_cases(
                rows, int(np.ceil(self.params.perplexity)) + 1, f"t-SNE with perplexity {self.params.perplexity:g}"
            )
        if self.params.method == "umap":
            require_cases(rows, self.params.neighbours + 1, f"UMAP with {self.params.neighbours} neighbours")
        if values.shape[1] < 2:
            raise DataError(f"layer {self.params.layer!r} has one feature, and a plane needs two; name another layer.")
        most = min(len(rows) - 1, values.shape[1])
        if self.params.pca_first and self.params.pca_first > most:
            raise DataError(
                f"pca_first is {self.params.pca_first}, but {len(rows)} cases with {values.shape[1]} features have at "
                f"most {most} components; lower it, or leave it out."
            )


class Projection(Planar[ProjectionParams]):
    """Shows the features of a layer as points of a plane: linearly (PCA), or so that near cases stay near."""

    def inspect(self, subject: Subject) -> Inspection:
        """Return points, a static figure and a table; of PCA also the shares of variance."""
        plane = self.plane(subject)
        cases = [subject.cases[row] for row in plane.rows]
        sampled = remark(subject, plane.rows)
        table = [
            {**columns(case), "x": float(x), "y": float(y)} for case, (x, y) in zip(cases, plane.positions.tolist())
        ]
        tables = {"projection": table}
        if plane.ratios is not None:
            tables["variance"] = _variances(plane.ratios)
        title = f"{METHODS[self.params.method]} of the features at layer {subject.model.layer(self.params.layer)}"
        figure = scatter(
            plane.positions, [str(row["label"]) for row in table], np.array([case.wrong for case in cases]), plane.axes,
            title,
        )  # fmt: skip
        points = Points(plane.positions, plane.rows, plane.axes, " ".join([meaning(self.params.method), *sampled]))
        sentences = (*plane.sentences, *sampled, *label_remark(cases))
        return Inspection(sentences, tables, {"projection": figure}, {"projection": points})


def meaning(method: str) -> str:
    """Return the sentence that says what distances in a plane mean."""
    if method == "pca":
        return "Distances are those of the features, as far as the two components hold them."
    return "Near cases have similar features; large distances and the sizes of groups mean nothing."


def _variances(ratios: Array) -> list[dict[str, object]]:
    together = np.cumsum(ratios)
    return [
        {"component": index + 1, "ratio": float(ratio), "cumulative": float(total)}
        for index, (ratio, total) in enumerate(zip(ratios, together))
    ]
