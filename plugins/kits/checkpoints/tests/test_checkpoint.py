"""Checkpoints load whole or are refused with a reason, and their code is never executed."""

import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from heatproof.errors import ModelError
from heatproof.notices import heard
from heatproof_checkpoints.checkpoint import load_weights, read_weights
from heatproof_checkpoints.initial import with_weights


class Intruder:
    """Touches a file when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 64))


class Settings(dict[str, Any]):
    """The settings of a trainer, as Lightning stores them: of a class that the file only names."""


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def trained(state: dict[str, Tensor]) -> dict[str, Any]:
    """What trainers store beside weights: an optimizer, settings, a best value of numpy's."""
    optimizer = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(4)}}, "param_groups": [{"lr": 1}]}
    settings = Settings(folder=Path("runs"), rate=1e-3)
    return {"optimizer": optimizer, "args": Namespace(rate=1), "hyper_parameters": settings, "best": np.float64(0.9)}


SEEN_THROUGH: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "torchvision": (lambda state: {"model": state, **trained(state)}, "the entry 'model'"),
    "timm": (lambda state: {"state_dict": state, **trained(state)}, "the entry 'state_dict'"),
    "net": (lambda state: {"net": state, "epoch": 3}, "the entry 'net'"),
    "nested": (lambda state: {"checkpoint": {"model_state_dict": state}}, "the entry 'checkpoint.model_state_dict'"),
    "parallel": (lambda state: prefixed("module.", state), "the prefix 'module.' of names"),
    "compiled": (lambda state: prefixed("module._orig_mod.", state), "the prefix 'module._orig_mod.' of names"),
    "lightning": (
        lambda state: {"state_dict": {**prefixed("model.", state), "loss.weight": torch.ones(5)}, **trained(state)},
        r"the entry 'state_dict' and the prefix 'model.' of names; not used: 1 \(such as 'loss.weight'\)",
    ),
    "averaged": (
        lambda state: {"ema": {**prefixed("module.", state), "n_averaged": torch.tensor(3)}},
        r"the entry 'ema' and the prefix 'module.' of names; not used: 1 \(such as 'n_averaged'\)",
    ),
    "compiled parts": (
        lambda state: {name.replace(".", "._orig_mod."): value for name, value in state.items()},
        "the parts '_orig_mod' of names",
    ),
}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_state_dictionary_is_loaded_whole(tmp_path: Path) -> None:
    state = network(9).state_dict()
    assert not same(network().state_dict(), state)
    torch.save(state, tmp_path / "plain.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("plain.pt", "old.pt"):
        assert same(load_weights(network(), tmp_path / name).state_dict(), state)


@pytest.mark.parametrize("name", SEEN_THROUGH)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_wrappers_and_prefixes_are_seen_through_and_said(tmp_path: Path, name: str, zipped: bool) -> None:
    state = network(9).state_dict()
    wrap, words = SEEN_THROUGH[name]
    torch.save(wrap(state), tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.warns(UserWarning, match=f"a.pt: the weights were read through {words}"):
        loaded = load_weights(network(), tmp_path / "a.pt")
    assert same(loaded.state_dict(), state)


def test_prefixes_in_safetensors_of_any_suffix(tmp_path: Path) -> None:
    state = network(9).state_dict()
    save_file(prefixed("module.", state), tmp_path / "a.bin")
    with pytest.warns(UserWarning, match="the prefix 'module.' of names"):
        assert same(load_weights(network(), tmp_path / "a.bin").state_dict(), state)


def test_a_model_says_it_among_its_notices(tmp_path: Path) -> None:
    """There it reaches whoever reads the run, without the folders of a machine."""
    torch.save(prefixed("module.", network(9).state_dict()), tmp_path / "a.pt")
    notices: list[str] = []
    with heard(notices.append), warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(network(), tmp_path / "a.pt")
    assert notices == ["checkpoint a.pt: the weights were read through the prefix 'module.' of names."]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_part_of_a_larger_network_is_loaded_and_the_rest_is_said(tmp_path: Path, prefix: str) -> None:
    state = network(9).state_dict()
    whole = {**state, "decoder.weight": torch.ones(2), "decoder.bias": torch.ones(2)}
    torch.save(prefixed(prefix, whole), tmp_path / "a.pt")
    with pytest.warns(UserWarning, match=r"not used: 2 \(such as 'decoder.bias'\)\.$"):
        loaded = load_weights(network(), tmp_path / "a.pt", beside=("decoder.",))
    assert same(loaded.state_dict(), state)
    with pytest.raises(ModelError, match=r"unknown: 2 \(such as 'decoder.bias'\)"):
        load_weights(network(), tmp_path / "a.pt", beside=("encoder.",))


def test_several_sets_of_weights_are_asked_about(tmp_path: Path) -> None:
    """A trainer that averages weights stores both; nobody but the user knows which were evaluated."""
    state = network(9).state_dict()
    torch.save({"model": state, "model_ema": prefixed("module.", state)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"several sets of weights .*: the entry 'model'; the entry 'model_ema' and"):
        load_weights(network(), tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"several sets of weights \('model', 'model_ema'\); save one of them"):
        read_weights(tmp_path / "a.pt")


def test_a_missing_count_of_batches_is_no_error(tmp_path: Path) -> None:
    state = network(9).state_dict()
    del state["1.num_batches_tracked"]
    torch.save(state, tmp_path / "a.pt")
    assert torch.equal(load_weights(network(), tmp_path / "a.pt").state_dict()["1.weight"], state["1.weight"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((64,), torch.nan), r"64 of 64 values of '2.bias' are not finite in torch.float32; .* earlier"),
        (torch.full((64,), 1e300, dtype=torch.float64), "64 of 64 values of '2.bias' are not finite in torch.float32"),
        (torch.zeros(64, dtype=torch.int8), "'2.bias' holds torch.int8 .*, the network needs torch.float32; save"),
        (torch.zeros(64).to_sparse(), r"'2.bias' holds torch.float32 \(torch.sparse_coo\), the network needs"),
    ],
    ids=["nan", "too large", "integers", "sparse"],
)
def test_tensors_that_cannot_be_weights_are_refused_by_name(tmp_path: Path, value: Tensor, message: str) -> None:
    torch.save(network().state_dict() | {"2.bias": value}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=message):
        load_weights(network(), tmp_path / "a.pt")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("wrap", [lambda network: network, lambda network: {"model": network}], ids=["plain", "entry"])
def test_a_whole_network_ends_in_advice(tmp_path: Path, wrap: Callable[[nn.Module], Any], zipped: bool) -> None:
    torch.save(wrap(network()), tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"loaded safely.* save its state dictionary .*torch\.save\(model.*file\."):
        load_weights(network(), tmp_path / "a.pt")


def test_safetensors_are_loaded_whole(tmp_path: Path) -> None:
    state = network(9).state_dict()
    save_file(state, tmp_path / "a.safetensors")
    assert same(read_weights(tmp_path / "a.safetensors"), state)
    assert same(load_weights(network(), tmp_path / "a.safetensors").state_dict(), state)


def test_other_keys_are_named(tmp_path: Path) -> None:
    state = network().state_dict()
    state["classifier.weight"] = state.pop("0.weight")
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"keys missing: 1 \(such as '0.weight'\), unknown: 1 \(such as 'classifier"):
        load_weights(network(), tmp_path / "a.pt")


def test_another_shape_is_named(tmp_path: Path) -> None:
    torch.save(network().state_dict() | {"2.bias": torch.zeros(7)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"'2.bias' has shape \(7,\), the network needs \(64,\); give a checkpoint of"):
        load_weights(network(), tmp_path / "a.pt")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_another_number_of_outputs_is_named(tmp_path: Path, prefix: str) -> None:
    other = {"2.weight": torch.zeros(1000, 4), "2.bias": torch.zeros(1000)}
    torch.save(prefixed(prefix, network().state_dict() | other), tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"has 1000 outputs, the network 64 \(by the shape of '2.*'\); name as many"):
        load_weights(network(), tmp_path / "a.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_the_networks(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file(network(1).to(dtype).state_dict(), tmp_path / "a.safetensors")
    for name, value in load_weights(network(), tmp_path / "a.safetensors").state_dict().items():
        expected = network(1).state_dict()[name]
        if value.is_floating_point():
            expected = expected.to(dtype)
        assert torch.equal(value, expected.to(value.dtype))


def test_names_of_another_library_are_translated_and_said(tmp_path: Path) -> None:
    def translated(name: str) -> str:
        return name.replace("first", "0").replace("norm", "1").replace("last", "2")

    names = {"0.": "first.", "1.": "norm.", "2.": "last."}
    state = {f"module.{names[name[:2]]}{name[2:]}": value for name, value in network(1).state_dict().items()}
    torch.save(state, tmp_path / "a.pt")
    with pytest.warns(UserWarning, match=r"through the names of theirs and the prefix 'module.' of names\.$"):
        loaded = load_weights(network(), tmp_path / "a.pt", {"ours": str.upper, "theirs": translated})
    assert torch.equal(loaded[2].weight, network(1)[2].weight)
    with pytest.raises(ModelError, match="keys missing: 8"):
        load_weights(network(), tmp_path / "a.pt")
    torch.save(network(1).state_dict(), tmp_path / "a.pt")
    load_weights(network(), tmp_path / "a.pt", {"theirs": lambda name: f"any.{name}"})


def test_a_pickle_with_code_is_refused_and_never_executed(tmp_path: Path) -> None:
    torch.save({"0.weight": Intruder(tmp_path / "touched")}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="not a checkpoint that can be loaded safely"):
        load_weights(network(), tmp_path / "a.pt")
    assert not (tmp_path / "touched").exists()
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert (tmp_path / "touched").exists(), "the planted code does nothing even when it is executed"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_truncated_checkpoint_is_named(tmp_path: Path, suffix: str) -> None:
    torch.save(nn.Linear(64, 64).state_dict(), tmp_path / "whole.pt")
    (tmp_path / f"a{suffix}").write_bytes((tmp_path / "whole.pt").read_bytes()[:5000])
    with pytest.raises(ModelError, match=f"a{suffix}"):
        load_weights(network(), tmp_path / f"a{suffix}")


@pytest.mark.parametrize("content", [{}, {"0.weight": 1.0}, [torch.zeros(2)]], ids=["empty", "number", "list"])
def test_a_file_without_tensors_by_name_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(
        ModelError, match=r"no state dictionary of tensors; save .*model\.state_dict\(\), path\), and give"
    ):
        read_weights(tmp_path / "a.pt")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist; give the path"):
        load_weights(network(), tmp_path / "a.pt")


def test_random_weights_follow_from_the_seed_and_are_said(tmp_path: Path) -> None:
    def drawn() -> nn.Module:
        return nn.Linear(4, 3)

    notices: list[str] = []
    before = torch.random.get_rng_state()
    with heard(notices.append):
        first, again, other = (with_weights("net", drawn, seed, None) for seed in (3, 3, 4))
    assert same(first.state_dict(), again.state_dict())
    assert not same(first.state_dict(), other.state_dict())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert notices[0] == (
        "net: all weights are random (seed 3); to explain a trained network, set weights to the path of a checkpoint."
    )
    save_file(first.state_dict(), tmp_path / "a.safetensors")
    with heard(notices.append):
        assert same(with_weights("net", drawn, 5, tmp_path / "a.safetensors").state_dict(), first.state_dict())
    assert len(notices) == 3


def test_classes_of_a_checkpoint_must_be_those_of_the_model(tmp_path: Path) -> None:
    """A network of as many outputs takes the weights, whatever the outputs mean."""
    path = tmp_path / "trained.safetensors"
    state = network().state_dict()
    save_file(state, path, {"classes": '["healthy", "ill"]'})
    for classes in ((), ("healthy", "ill")):
        assert torch.equal(load_weights(network(1), path, classes=classes).state_dict()["2.weight"], state["2.weight"])
    with pytest.raises(ModelError, match="the same classes in another order: healthy, ill; the model has ill, healthy"):
        load_weights(network(1), path, classes=("ill", "healthy"))
    with pytest.raises(ModelError, match="with other classes: healthy, ill; the model has cat, dog"):
        with_weights("net", network, 0, path, classes=("cat", "dog"))


@pytest.mark.parametrize("metadata", [None, {"classes": "no JSON"}, {"classes": '{"a": 1}'}, {"format": "pt"}])
def test_without_a_list_of_classes_nothing_is_compared(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "trained.safetensors"
    save_file(network().state_dict(), path, metadata)
    load_weights(network(1), path, classes=("cat", "dog"))
    torch.save(network().state_dict(), tmp_path / "trained.pt")
    load_weights(network(1), tmp_path / "trained.pt", classes=("cat", "dog"))
