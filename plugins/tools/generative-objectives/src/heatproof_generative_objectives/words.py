"""The loss of networks that write words about an image."""

from collections.abc import Mapping
from functools import cached_property

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from heatproof.component import Params
from heatproof.errors import DataError, ModelError
from heatproof.model import Model
from heatproof_objectives.objective import Objective
from heatproof_objectives.step import Step

END = 0
"""The token that ends a report."""


class WordsParams(Params):
    """Where the reports are, the weight of the classes, and the names of the model's output and input.

    ``report``: the extra with the text of the report. ``classification``: the weight of the cross-entropy of the
    label; with 0, samples need no label. ``output``: the logits of every word (n, length, token). ``input``: the input
    of the network with the words before every word.
    """

    report: str = "report"
    classification: float = Field(default=1.0, ge=0, le=1e12)
    output: str = "word_logits"
    input: str = "words"


class Words(Objective[WordsParams]):
    """The cross-entropy of each word of the report after the true words before it + weight · that of the class.

    This is teacher forcing, as in Zhang et al. 2017, "MDNet: A Semantically and Visually Interpretable Medical Image
    Diagnosis Network", CVPR. The end of a report is a word, too; what follows it does not count. The loss is the mean
    over the words of a report, and over reports. The model tells the tokens of reports by ``tokens(reports)``, as
    ``mdnet`` does, and the network runs once more, with these as input. Logged as ``words`` and ``classification``.
    """

    @cached_property
    def labelled(self) -> bool:
        """Whether every sample needs a label: only where classes are trained, too."""
        return self.params.classification > 0

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model that writes no words."""
        self.require_output(model, self.params.output)
        if not hasattr(model, "tokens"):
            raise ModelError(
                f"{model.short} has no tokens(reports), which turns reports into the words of its vocabulary; use a "
                "model that writes words, such as mdnet."
            )
        if self.labelled:
            self.require_head(model, "softmax")

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return ``loss``, ``words`` and ``classification``; raises ``DataError`` without a report or label."""
        model = step.batch.model
        tokens = self.tokens(step)
        inputs = {**step.batch.inputs, self.params.input: tokens}
        outputs = model.forward(step.batch.images, **inputs)
        words = cross_entropies(outputs[self.params.output], tokens).mean()
        if not self.labelled:
            return {"loss": words, "words": words}
        classification = functional.cross_entropy(model.scores(step.batch.explained(outputs)), step.labels())
        loss = words + self.params.classification * classification
        return {"loss": loss, "words": words, "classification": classification}

    def tokens(self, step: Step) -> Tensor:
        """The tokens (n, length) of the reports, by the model; raises ``DataError`` for a sample without a report."""
        reports = []
        for sample in step.samples:
            report = sample.extras.get(self.params.report)
            if not isinstance(report, str) or not report.split():
                raise DataError(
                    f"sample {sample.id} has no text {self.params.report!r} among its extras "
                    f"({', '.join(sample.extras) or 'it has none'}); name the extra with its report, or leave it out."
                )
            reports.append(report)
        tokens: Tensor = step.batch.model.tokens(reports)  # type: ignore[attr-defined]
        return tokens.to(step.batch.images.device)


def cross_entropies(logits: Tensor, tokens: Tensor) -> Tensor:
    """Compute the mean cross-entropy (n,) of the words of each report, its end included.

    ``logits`` (n, length, token) are those of the words ``tokens`` (n, length), of which 0 is the end. A report as long
    as this has no end.
    """
    losses = functional.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
    ended = (tokens == END).long().cumsum(1) - (tokens == END).long()
    counted = ended == 0
    return torch.where(counted, losses, 0).sum(1) / counted.sum(1)
