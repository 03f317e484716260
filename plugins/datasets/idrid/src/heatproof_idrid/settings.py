"""The settings of IDRiD."""

from typing import Literal

from heatproof_cohorts.manifest import ListedParams

Lesion = Literal["microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates", "optic_disc"]


class IdridParams(ListedParams):
    """The part to read; for part A also its findings, and whether to add the optic disc."""

    part: Literal["segmentation", "grading", "localization"] = "segmentation"
    findings: tuple[Lesion, ...] = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
    optic_disc: bool = False
