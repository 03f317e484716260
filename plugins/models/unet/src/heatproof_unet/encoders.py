"""Encoders of segmentation-models-pytorch: their names, and their weights from the cache of the hub."""

from pathlib import Path
from typing import Any

from torch import nn

from heatproof.errors import ModelError, near
from heatproof_checkpoints.checkpoint import read_weights

TIMM = "tu-"
"""What the names of encoders that are any network of timm begin with."""
FILE = "model.safetensors"


def require_encoder(name: str) -> None:
    """Raise ``ModelError`` unless segmentation-models-pytorch has an encoder of this name."""
    import timm
    from segmentation_models_pytorch.encoders import get_encoder_names

    if name.startswith(TIMM) and timm.is_model(name.removeprefix(TIMM)):
        return
    if name not in get_encoder_names():
        raise ModelError(
            f"segmentation-models-pytorch has no encoder {name!r}; {near(name, get_encoder_names())} A network of timm "
            f"has {TIMM} before its name."
        )


def load_encoder(encoder: nn.Module, name: str, weights: str) -> None:
    """Load weights of the library into an encoder, from the cache of the hub; they are never downloaded.

    Raises ``ModelError`` where the library has no such weights, and where they are not on this computer.
    """
    settings = _settings(name, weights)
    path = _cached(settings)
    if path is None:
        raise ModelError(
            f"the weights {weights!r} of the encoder {name} are not on this computer, and heatproof downloads none; "
            f"load them once where there is a network, by segmentation_models_pytorch.encoders.get_encoder({name!r}, "
            f"weights={weights!r}), or set weights to the path of a checkpoint."
        )
    try:
        encoder.load_state_dict(read_weights(path))
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()))
        raise ModelError(f"the weights {weights!r} in {path} do not fit the encoder {name} ({reason}).") from error


def _settings(name: str, weights: str) -> Any:
    """Where the library has the weights of an encoder; raises ``ModelError`` for unknown ones."""
    from segmentation_models_pytorch.encoders import encoders

    known = encoders.get(name, {}).get("pretrained_settings", {})
    if not known:
        raise ModelError(
            f"segmentation-models-pytorch has no weights of the encoder {name} by a name; set weights to the path of a "
            "checkpoint."
        )
    if weights not in known:
        raise ModelError(
            f"segmentation-models-pytorch has no weights {weights!r} of the encoder {name}; {near(weights, known)}"
        )
    return known[weights]


def _cached(settings: Any) -> Path | None:
    """The file of the weights in the cache of the hub; None if it was never loaded."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(settings["repo_id"], FILE, revision=settings["revision"])
    return Path(path) if isinstance(path, str) else None
