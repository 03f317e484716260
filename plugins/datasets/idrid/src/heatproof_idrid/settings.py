"""The settings of IDRiD."""

from typing import Literal

from heatproof_cohorts.manifest import ListedParams

Lesion = Literal["microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates", "optic_disc"]


class IdridParams(ListedParams):
    """Which part to read, and of part A which findings, and whether to add the optic disc."""

    part: Literal["segmentation", "grading", "localization"] = "segmentation"
    findings: tuple[Lesion, ...] = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
    optic_disc: bool = False
