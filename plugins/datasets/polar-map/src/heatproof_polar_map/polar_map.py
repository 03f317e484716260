"""Polar maps of myocardial perfusion of normal hearts and of coronary artery disease."""

from heatproof_cohorts.folders import FolderDataset


class PolarMap(FolderDataset):
    """216 polar maps of myocardial perfusion, 80 normal and 136 with coronary artery disease (CAD).

    Athanasoula et al., who explain a feature-fusion VGG19 by Grad-CAM on seven medical datasets, call it MPIP and state
    these counts. Its source is not public. Images must lie in two folders named after the classes; there are no
    annotations.
    """

    classes = ("normal", "cad")
    citation = "the dataset MPIP among the seven of Athanasoula et al. (Grad-CAM, FF-VGG19); its source is not public"
    licence = "not stated by its authors; ask them before use"
    obtain = "its source is not public, so ask the authors of the study, and put the images into these folders"
    published = {"samples": 216, "samples of normal": 80, "samples of cad": 136}  # noqa: RUF012
