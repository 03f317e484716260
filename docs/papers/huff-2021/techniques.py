"""Runs the command of each technique of Huff et al. 2021, and writes what it printed into the table of index.md.

    python docs/papers/huff-2021/techniques.py --folder /tmp/techniques

Every command is one that a user can type in this folder; it reads the smallest synthetic data. Of its output the table
has the line with the result. Commands whose results are in the folder already cost seconds.
"""

import argparse
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from heatproof.cli.commands import cli

HERE = Path(__file__).parent
BEGIN = "<!-- written by techniques.py -->"
END = "<!-- end -->"
FAST = ("statistics.resamples=200", "statistics.permutations=200", "report.figures=false", "rows=2")
NOT_YET = "not yet"


@dataclass(frozen=True)
class Technique:
    """A technique, the section of the review, the words of its command, and how the line with its result begins."""

    name: str
    section: str
    words: Sequence[str] = ()
    line: str = ""


def explained(name: str, section: str, entry: str) -> Technique:
    """A technique that is an explainer of explainers.yaml, given as an entry of a config."""
    line = entry.strip("{").removeprefix("use: ").partition(",")[0]
    return Technique(name, section, ("run", "explainers.yaml", "--set", f"explainers=[{entry}]"), f"lesionnet × {line}")


def trained(name: str, section: str, config: str, line: str = "checkpoint.safetensors") -> Technique:
    """A technique that is trained by a config."""
    return Technique(name, section, ("train", config), line)


TECHNIQUES = (
    Technique("Visualisation of filters", "2"),
    Technique("Visualisation of feature maps", "2"),
    Technique("Principal components of features", "2"),
    Technique("t-SNE of features", "2"),
    Technique("Constraint-based embedding of features", "2"),
    trained("Convolutional autoencoder", "2.3", "autoencoder.yaml"),
    trained("Variational autoencoder", "2.3", "vae.yaml"),
    trained("Adversarial autoencoder", "2.3", "adversarial.yaml"),
    Technique("Anomaly map of an autoencoder", "2.3", ("run", "anomaly.yaml"), "autoencoder"),
    Technique("Anomaly map of a VAE", "2.3", ("run", "anomaly.yaml"), "vae"),
    explained("Occlusion", "3", "{use: occlusion, patch: 112, stride: 112}"),
    explained("LIME", "3", "{use: lime, segments: 20, samples: 50}"),
    explained("Integrated gradients", "3", "{use: integrated_gradients, steps: 8}"),
    Technique("Perturbation by a VAE", "3", ("run", "attention.yaml"), "attention network × vae_perturbation"),
    Technique("Class maximisation", "3"),
    explained("Gradient saliency", "3", "gradient"),
    explained("DeconvNet", "3", "deconvnet"),
    explained("Guided backpropagation", "3", "guided_backprop"),
    Technique("CAM", "3", ("run", "attention.yaml"), "resnet18 × cam"),
    explained("Grad-CAM", "3", "gradcam"),
    explained("Guided Grad-CAM", "3", "guided_gradcam"),
    explained("Respond-CAM", "3", "respond_cam"),
    explained("Layer-wise relevance propagation", "3", "{use: lrp, preset: epsilon}"),
    Technique("Trainable attention", "3", ("run", "attention.yaml"), "attention network × attention"),
    Technique("Attention gates", "3", ("run", "attention.yaml"), "gated network × attention"),
    Technique("CLEAR: response and class maps", "4", ("run", "attention.yaml"), "attention network × clear"),
    Technique("CLEAR-DR: report", "4"),
    Technique("DeepMiner: network dissection", "4"),
    Technique("Mimir: report", "4"),
    trained("DX-Caps: network with attributes", "4.4", "capsules.yaml"),
    Technique("DX-Caps: diagnosis card", "4.4"),
    Technique("MDNet: report with a map per word", "4.5"),
    trained("Learning curves and their warnings", "appendix", "autoencoder.yaml", "wrote"),
)


def printed(technique: Technique) -> str:
    """Run the command of a technique in this folder; return the line with the result, with single spaces."""
    extra = [word for setting in FAST for word in ("--set", setting)] if technique.words[0] == "run" else []
    words = [technique.words[0], str(HERE / technique.words[1]), *technique.words[2:], *extra]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(cli, words, prog_name="heatproof")
    if result.exit_code:
        raise SystemExit(f"{typed(technique)} failed: {result.output}")
    lines = [line for line in result.stdout.splitlines() if line.strip().startswith(technique.line)]
    if not lines:
        return result.stdout.splitlines()[-1]
    return " ".join(lines[0].split())


def typed(technique: Technique) -> str:
    """The command as a user types it in this folder."""
    return shlex.join(["heatproof", *technique.words])


def table(folder: Path) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| technique | section | command | printed |"
    yield "|---|---|---|---|"
    for technique in TECHNIQUES:
        if not technique.words:
            yield f"| {technique.name} | {technique.section} | {NOT_YET} | |"
            continue
        text = printed(technique).replace(f"{folder}/", "")
        yield f"| {technique.name} | {technique.section} | `{typed(technique)}` | `{text}` |"


def main() -> None:
    """Write the synthetic twin, run all commands, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    folder = parser.parse_args().folder.resolve()
    os.environ |= {"RUNS": str(folder), "LIDC": str(folder / "lidc")}
    if not (folder / "lidc").is_dir():
        words = ["data", "write", "lidc", "--set", "subject=thorax", "--set", "patients=10", "--set", "height=64"]
        written = CliRunner().invoke(cli, [*words, "--root", str(folder / "lidc")], prog_name="heatproof")
        if written.exit_code:
            raise SystemExit(written.output)
    page = HERE / "index.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    text = "\n".join([BEGIN, "", *table(folder), "", END])
    page.write_text(f"{before}{text}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
