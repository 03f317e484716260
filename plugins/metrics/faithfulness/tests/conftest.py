"""Fixtures: cases made of a network and a heatmap, and a count of the passes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.explainer import Explainer, heatmaps
from heatproof.metric import Case
from heatproof.model import Head, Model
from heatproof.records import Heatmap, Sample


class Passes:
    """The images of every forward, the most images in one forward, and the number of images in backwards."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []
        self.largest = self.backwards = 0

    def __len__(self) -> int:
        return len(self.images)


@pytest.fixture
def case() -> Callable[..., Case]:
    """A case of an image (c, *space), a heatmap (*space) and a network; the heatmap is summed over channels."""

    def make(
        network: nn.Module | Model, image: Any, heat: Any, *, field: Any = None, rows: int = 8,
        head: Head = "softmax", target: int = 0, id: str = "one", seed: int = 0, explainer: Explainer | None = None,
    ) -> Case:  # fmt: skip
        model = network
        if not isinstance(model, Model):
            model = Model.of(model.double(), ("one", "two", "three"), head=head)
        image = np.asarray(image, dtype=np.float64)
        fields = None
        if field is not None:
            fields = torch.as_tensor(field)[None]
        images = torch.from_numpy(image)[None]
        batch = Batch(model, [id], images, [target], rows=rows, seed=seed, field=fields)
        prediction = model.read(model.network(images).detach().numpy()[0])
        sample = Sample(id, image, field=field)

        def explain(batch: Batch) -> Any:
            assert explainer is not None
            return heatmaps(explainer(batch.at(layers=explainer.layers(batch.model))), "sum")

        if explainer is None:
            return Case(sample, prediction, Heatmap(np.asarray(heat)), batch)
        return Case(sample, prediction, Heatmap(np.asarray(heat)), batch, explain, explainer.traits)

    return make


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Count the passes of all batches during a test."""
    counts = Passes()
    evaluate = Batch.evaluate

    def backward(gradient: Tensor) -> None:
        counts.backwards += len(gradient)

    def counting(batch: Batch, images: Tensor | None = None, *arguments: Any, **settings: Any) -> Any:
        outputs, activations = evaluate(batch, images, *arguments, **settings)
        logits = batch.explained(outputs)
        if images is None:
            images = batch.images
        counts.images += list(images.detach())
        counts.largest = max(counts.largest, len(images))
        if logits.requires_grad:
            logits.register_hook(backward)
        return outputs, activations

    monkeypatch.setattr(Batch, "evaluate", counting)
    return counts
