"""What the tests share: cases made of a network and a heatmap, and the passes that were taken."""

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
    """The images of every forward, as often as they passed, and how many passed backward."""

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
        model = (
            network if isinstance(network, Model) else Model.of(network.double(), ("one", "two", "three"), head=head)
        )
        image = np.asarray(image, dtype=np.float64)
        shown = None if field is None else torch.as_tensor(field)[None]
        images = torch.from_numpy(image)[None]
        batch = Batch(model, [id], images, [target], rows=rows, seed=seed, field=shown)
        prediction = model.read(model.network(images).detach().numpy()[0])
        sample = Sample(id, image, field=field)

        def explain(batch: Batch) -> Any:
            assert explainer is not None
            return heatmaps(explainer(batch.at(layers=explainer.layers(batch.model))), "sum")

        traits = explainer.traits if explainer else frozenset()
        return Case(sample, prediction, Heatmap(np.asarray(heat)), batch, explain if explainer else None, traits)

    return make


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """The passes from here on."""
    counts, forward = Passes(), Batch.forward

    def backward(gradient: Tensor) -> None:
        counts.backwards += len(gradient)

    def counting(batch: Batch, images: Tensor | None = None, *rest: Any, **settings: Any) -> Any:
        logits, activations = forward(batch, images, *rest, **settings)
        shown = batch.images if images is None else images
        counts.images += list(shown.detach())
        counts.largest = max(counts.largest, len(shown))
        if logits.requires_grad:
            logits.register_hook(backward)
        return logits, activations

    monkeypatch.setattr(Batch, "forward", counting)
    return counts
