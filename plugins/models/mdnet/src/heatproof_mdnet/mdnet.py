"""MDNet: a class and a report for an image, with the region that each word of the report looks at."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import AfterValidator, Field, PositiveInt, model_validator
from torch import Tensor, nn

from heatproof.component import Location, Params, Seed
from heatproof.errors import ModelError, near
from heatproof.imaging.transforms import Resize, Side
from heatproof.model import Model
from heatproof_checkpoints.initial import with_weights

from .network import BOUNDARY, ReportNetwork, Sizes

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""The normalisation of images, that of ImageNet."""
VECTORS = "vectors.weight"
"""The name of the tensor with a row per token."""


def _words(words: tuple[str, ...]) -> tuple[str, ...]:
    """Raise ``ValueError`` unless these are words, all different."""
    for word in words:
        if word.split() != [word]:
            raise ValueError(f"has {word!r}, which is no single word; separate words, without spaces in them")
        if words.count(word) > 1:
            raise ValueError(f"has {word!r} twice; give each word once")
    return words


class MDNetParams(Params):
    """The words, the classes, the weights and the sizes of the network.

    ``vocabulary`` are the words of reports in the order of the training, or the path of a text file with one word per
    line. ``classes`` are the names of the logits. ``weights``: the path of a checkpoint; without it, all weights are
    random by ``seed``. ``channels`` and ``blocks`` are those of each stage of the residual network that gives the
    features, by default those of ResNet-18. ``size`` is the side of images in pixels; a cell of attention has 32, half
    as many with one stage less. ``length`` is the number of words of a report, and ``units`` are those of the LSTM, of
    the vectors of words and of the attention.
    """

    vocabulary: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_words)] | Location
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "normal", "low_grade", "high_grade", "insufficient_information",
    )  # fmt: skip
    weights: Location | None = None
    seed: Seed = 0
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 128, 256, 512)
    blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (2, 2, 2, 2)
    size: Side = 224
    length: Annotated[int, Field(ge=1, le=1000)] = 30
    units: PositiveInt = 256

    @model_validator(mode="after")
    def _staged(self) -> Self:
        if len(self.channels) != len(self.blocks):
            raise ValueError(
                f"channels are those of {len(self.channels)} stages, blocks those of {len(self.blocks)}; give as many"
            )
        return self


class MDNet(Model[MDNetParams]):
    """Classifies an image and describes it in words, each with a map of attention over the image.

    A residual network gives features and the class; an LSTM writes the report, and before each word attends to the
    cells of the last grid (Zhang et al. 2017, "MDNet: a semantically and visually interpretable medical image diagnosis
    network"). The authors published no code: the features are those of a plain residual network (He et al. 2016), the
    attention is additive and the LSTM starts from the mean features, as in Xu et al. 2015, "Show, attend and tell".

    Outputs: ``logits`` (n, class); ``attention`` (n, length, h, w), a map per word that sums to 1; ``words``
    (n, length), the tokens, of which 0 ends the report and the others count from 1 in the vocabulary; ``word_logits``
    (n, length, token). Each word is the likeliest one, so an image always gets the same report. Maps behind the end of
    a report belong to no word.
    """

    outputs = ("logits", "attention", "words", "word_logits")

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.classes = self.params.classes
        self.preparation = Resize(size=(self.params.size,) * 2, channels=3, mean=MEAN, std=STD)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words, of which token t is the t-th; raises ``ModelError`` for a file that does not list words."""
        if isinstance(self.params.vocabulary, Path):
            return _read(self.params.vocabulary)
        return self.params.vocabulary

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """What explainers may require: also ``attention``, the output of that name."""
        return super().capabilities | {"attention"}

    @cached_property
    def attention_names(self) -> tuple[str, ...]:
        """The names of the maps of attention, by the position of their word in the report: ``word_1``, …"""
        return tuple(f"word_{position + 1}" for position in range(self.params.length))

    def build(self) -> nn.Module:
        """Build the network; raises ``ModelError`` where the checkpoint does not fit."""
        params = self.params
        sizes = Sizes(
            channels=params.channels, blocks=params.blocks, classes=len(params.classes),
            tokens=len(self.vocabulary) + 1, length=params.length, units=params.units,
        )  # fmt: skip
        try:
            return with_weights(self.short, lambda: ReportNetwork(sizes), params.seed, params.weights)
        except ModelError as error:
            if VECTORS not in str(error):
                raise
            raise ModelError(
                f"checkpoint {params.weights} has another vocabulary, or other units, than the {len(self.vocabulary)} "
                f"words and {params.units} units of {self.short} (by the shape of {VECTORS!r}); give those of its "
                "training."
            ) from error

    def report(self, words: Sequence[int] | Tensor) -> str:
        """The text of a row of the output ``words`` (length,), up to its end."""
        tokens = [int(token) for token in words]
        end = tokens.index(BOUNDARY) if BOUNDARY in tokens else len(tokens)
        vocabulary = self.vocabulary
        return " ".join(vocabulary[token - 1] for token in tokens[:end])

    def tokens(self, reports: Sequence[str]) -> Tensor:
        """The tokens (n, length) of reports, whose words are separated by spaces, for the network's input ``words``.

        Raises ``ModelError`` for a word that is not in the vocabulary, and for a report of too many words.
        """
        vocabulary = self.vocabulary
        tokens = torch.full((len(reports), self.params.length), BOUNDARY)
        for row, report in enumerate(reports):
            words = report.split()
            if len(words) > self.params.length:
                raise ModelError(
                    f"a report has {len(words)} words, {self.short} writes {self.params.length}; set length to more."
                )
            for position, word in enumerate(words):
                if word not in vocabulary:
                    raise ModelError(f"the vocabulary of {self.short} has no word {word!r}; {near(word, vocabulary)}")
                tokens[row, position] = vocabulary.index(word) + 1
        return tokens


def _read(path: Path) -> tuple[str, ...]:
    """The words in the lines of a file."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        words = _words(tuple(line.strip() for line in lines if line.strip()))
    except OSError as error:
        raise ModelError(f"the vocabulary {path} cannot be read ({error.strerror}); correct the path.") from None
    except ValueError as error:
        raise ModelError(f"the vocabulary {path} {error}; one word per line, in UTF-8.") from None
    if not words:
        raise ModelError(f"the vocabulary {path} is empty; give one word per line.")
    return words
