"""Provenance: versions, weights, files and settings of a run."""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from heatproof.network.weights import weights_digest
from heatproof.records import Geometry
from heatproof.run.provenance import device_name, versions
from heatproof.testing.toys import Regions
from heatproof_parts import Images

Ran = Callable[..., Any]


def read(finished: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((finished.folder / "provenance.json").read_text())
    return result


def test_a_run_says_where_its_numbers_come_from(ran: Ran) -> None:
    result = read(ran(seed=5, metrics=["filled"], explainers=[{"use": "slope", "factor": 3.0}]))
    (environment,) = result["environments"]
    assert environment["versions"]["torch"] == version("torch")
    assert (environment["device"], environment["threads"]) == ("cpu", 1)
    assert (result["seed"], result["rows"]) == (5, {"regions": 2})
    (model,) = result["models"]
    assert model["use"] == "heatproof-parts/regions"
    assert model["weights"] == {weights_digest(Regions().network): 2}
    (dataset,) = result["datasets"]
    assert (dataset["split"], dataset["samples"], dataset["synthetic"], dataset["count"]) == ("test", 8, True, 16)
    assert dataset["identity"] == Images(count=16).identity or dataset["identity"]
    factors = {explainer["use"]: explainer.get("factor") for explainer in result["explainers"]}
    assert factors["heatproof-parts/slope"] == 3.0
    assert len(result["metrics"][0]["brightness"]) == 3  # as filled


def test_it_names_no_time_and_no_host(ran: Ran) -> None:
    content = (ran().folder / "provenance.json").read_bytes()
    assert (ran().folder / "provenance.json").read_bytes() == content


def test_the_digest_of_weights_counts_every_value_and_name() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    entries = {
        name: [
            str(value.dtype),
            str(tuple(value.shape)),
            hashlib.blake2b(value.numpy().tobytes(), digest_size=16).hexdigest(),
        ]
        for name, value in network.state_dict().items()
    }
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"))
    first = weights_digest(network)
    assert first == hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    with torch.no_grad():
        network[1].running_mean[1] = torch.nextafter(torch.tensor(0.0), torch.tensor(1.0))
    assert weights_digest(network) != first


def test_decoded_files_are_counted_and_digested(ran: Ran, tmp_path: Path, monkeypatch: Any) -> None:
    root = tmp_path / "data"
    root.mkdir()
    load = Images.load

    def from_file(self: Any, id: str) -> Any:
        sample = load(self, id)
        path = root / f"{id}.bin"
        if not path.exists():
            path.write_bytes(id.encode())
        return type(sample)(**{**vars(sample), "geometry": Geometry.identity(sample.space, str(path))})

    monkeypatch.setattr(Images, "load", from_file)
    first = read(ran(output=str(tmp_path / "one")))["files"]
    assert first["decoded"] == 8
    assert read(ran(output=str(tmp_path / "two")))["files"] == first
    (root / "blob-009.bin").write_bytes(b"other")
    changed = read(ran(output=str(tmp_path / "three")))["files"]
    assert changed["decoded"] == 8
    assert changed["digest"] != first["digest"]


def test_every_distribution_is_listed() -> None:
    result = versions()
    assert result["heatproof"] == version("heatproof")
    assert result["numpy"] == version("numpy")
    assert device_name("cpu") == "cpu"
