"""A network for radiographs and the gaze of their reader, one frame per fixation."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import AfterValidator, Field, PositiveInt
from torch import Tensor, nn

from heatproof.component import Location, Params, Seed
from heatproof.errors import DataError, ModelError
from heatproof.imaging.transforms import Resize, Side
from heatproof.records import Array, Sample
from heatproof_checkpoints.checkpoint import Translations
from heatproof_checkpoints.initial import Weighted
from heatproof_eyetracking.gaze import SCALES, Frames

from .network import MEAN, STD, GazeNetwork

FRAMES = "gaze_frames"
"""The name of the extra with the frames of a sample."""
PARTS = {
    "image_encoder.": "image.", "heatmap_cnn.": "frame.", "heatmap_rnn.dense.": "context.",
    "classifier.fc.": "classifier.", ".conv1.": ".convolution.", ".batch1.": ".norm.", ".final_dense.": ".embedding.",
}  # fmt: skip
"""Parts of names of tensors in the authors' code → the parts here."""
RECURRENT = re.compile(r"^heatmap_rnn\.rnn\.(\w+_l0)(_reverse)?$")
DENSE = re.compile(r"\.dense_layers\.(\d+)\.")


def _even(widths: tuple[int, ...]) -> tuple[int, ...]:
    if widths[-1] % 2:
        raise ValueError(f"ends with {widths[-1]}, which two directions cannot share; give an even last width")
    return widths


class GazeTemporalParams(Params):
    """The weights and the sizes of the network; the defaults are those of the published experiments.

    ``weights``: the path of a checkpoint, also of the authors' code; without it, all weights are random by ``seed``.
    ``classes`` are the names of the logits. ``size`` is the side of images and frames in pixels. ``hidden`` are the
    units of the dense layers of both encoders; the LSTM has as many as the last of them, half in each direction.
    ``embedding`` is the length of the embeddings of image and frames. ``dropout`` acts in training only. ``scale``
    turns the values of each frame into 0 … 1: ``linear`` by its smallest and largest value, ``viridis_luma`` into the
    greys of the published training.
    """

    weights: Location | None = None
    seed: Seed = 0
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = ("Normal", "CHF", "pneumonia")
    size: Side = 224
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1), AfterValidator(_even)] = (128,)
    embedding: PositiveInt = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    scale: Literal["linear", "viridis_luma"] = "linear"


class GazeTemporal(Weighted[GazeTemporalParams]):
    """Classifies a radiograph from its pixels and from the gaze of its reader, frame by frame.

    An encoder embeds the image and another one each frame; a bidirectional LSTM reads the frames, and attention over
    its states weights them (Karargyris et al. 2021, "Creation and validation of a chest X-ray dataset with eye-tracking
    and report dictation for AI development", Scientific Data 8:92; the temporal model of Watanabe et al. 2022). One
    linear layer reads both embeddings, so the gaze shifts all logits and the heatmap shows the evidence in the image
    alone. As in the authors' code, the last states that attend begin with those of the direction back, and agreement
    is divided by the square root of the units of one direction.

    The output ``frame_attention`` (n, t) sums to 1 over the frames of a sample. Frames come from the extra
    ``gaze_frames``, (t, h, w) or ``Frames``; a sample without a frame is refused.
    """

    head = "sigmoid"
    outputs = ("logits", "frame_attention")
    extras = (FRAMES,)

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.classes = self.params.classes
        self.preparation = Resize(size=(self.params.size,) * 2, channels=3, white="maximum", mean=MEAN, std=STD)

    def layers(self) -> tuple[str, ...]:
        """The convolution of the image, with its ReLU; those of frames do not lie over the image."""
        return ("image.convolution",)

    def layer(self, name: str) -> str:
        """The full name of a layer given by name or as ``last``; raises ``ModelError`` for one not over the image."""
        full = super().layer(name)
        if full.partition(".")[0] != "image":
            raise ModelError(
                f"layer {full!r} of {self.short} lies over the frames of gaze, or over nothing; name a module of image."
            )
        return full

    def random_network(self) -> nn.Module:
        """Build the network with random weights, drawn from torch's generator."""
        params = self.params
        return GazeNetwork(params.size, params.hidden, params.embedding, params.dropout, len(params.classes))

    @property
    def translations(self) -> Translations:
        """The names of the authors' code."""
        return {"the authors' code": of_authors}

    def collate(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """The frames (n, t, h, w) in 0 … 1, filled up with zeros, and which of them are real (n, t).

        Raises ``DataError`` for a sample without frames, and for frames of another size or that are not finite.
        """
        sequences = [self._frames(sample) for sample in samples]
        longest = max(map(len, sequences))
        frames = np.zeros((len(samples), longest, *samples[0].space), dtype=np.float32)
        mask = np.zeros((len(samples), longest), dtype=bool)
        for row, sequence in enumerate(sequences):
            frames[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = True
        return {"frames": torch.from_numpy(frames), "mask": torch.from_numpy(mask)}

    def _frames(self, sample: Sample) -> Array:
        """The frames (t, h, w) of a prepared sample, each in 0 … 1."""
        if FRAMES not in sample.extras:
            raise DataError(
                f"{sample.id} has no extra {FRAMES!r}, which {self.short} reads; set frames: true of the dataset, or "
                "choose one that has them."
            )
        value = sample.extras[FRAMES]
        frames = np.asarray(value.values() if isinstance(value, Frames) else value)
        if frames.ndim != 3 or frames.shape[1:] != sample.space:
            raise DataError(
                f"{sample.id} has gaze frames of shape {frames.shape} for an image {sample.space}; give (frames, "
                "height, width) on the grid of the image as the dataset loads it, which is then prepared with it."
            )
        if not len(frames):
            raise DataError(
                f"{sample.id} has no frame of gaze, since no fixation lies on its image, and attention over no frames "
                "is not defined; leave the sample out."
            )
        if not np.isfinite(frames).all():
            raise DataError(f"the gaze frames of {sample.id} hold values that are not finite; correct them.")
        scale = SCALES[self.params.scale]
        return np.stack([scale(frame) for frame in frames])


def of_authors(name: str) -> str:
    """The name here of a tensor in a checkpoint of the authors' code; a name that is not theirs stays.

    >>> of_authors("heatmap_rnn.rnn.weight_ih_l0_reverse"), of_authors("image_encoder.dense_layers.3.bias")
    ('recurrence.back.weight_ih_l0', 'image.hidden.4.bias')
    """
    recurrent = RECURRENT.match(name)
    if recurrent:
        return f"recurrence.{'back' if recurrent[2] else 'ahead'}.{recurrent[1]}"
    for part, replacement in PARTS.items():
        name = name.replace(part, replacement)
    # Each dense layer is followed by its norm there, and by norm and activation here.
    return DENSE.sub(lambda match: f".hidden.{int(match[1]) // 2 * 3 + int(match[1]) % 2}.", name)
