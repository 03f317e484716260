"""Checkpoints load whole or are refused with a reason, and their code is never executed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from heatproof.errors import ModelError
from heatproof_checkpoints.checkpoint import load_weights, read_weights


class Intruder:
    """Touches a file when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 64))


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_state_dictionary_is_loaded_whole(tmp_path: Path) -> None:
    state = network(9).state_dict()
    assert not same(network().state_dict(), state)
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"state_dict": state}, tmp_path / "wrapped.pt")
    for name in ("plain.pt", "wrapped.pt"):
        assert same(load_weights(network(), tmp_path / name).state_dict(), state)


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
    with pytest.raises(ModelError, match=r"holds no state dictionary of tensors; save model\.state_dict"):
        read_weights(tmp_path / "a.pt")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist; give the path"):
        load_weights(network(), tmp_path / "a.pt")
