"""PET/CT images of benign and malignant solitary pulmonary nodules."""

from heatproof_cohorts.folders import FolderDataset


class PetctSpn(FolderDataset):
    """172 solitary pulmonary nodules, 61 benign and 111 malignant.

    Athanasoula et al., who explain a feature-fusion VGG19 by Grad-CAM on seven medical datasets, state these counts,
    but no source, layout or split. Images must lie in two folders named after the classes; there are no annotations.
    """

    classes = ("benign", "malignant")
    citation = (
        "the PET/CT dataset among the seven of Athanasoula et al. (Grad-CAM, FF-VGG19); no public source is known"
    )
    licence = "not stated by its authors; ask them before use"
    obtain = "no public source is known, so ask the authors of the study, and put the images into these folders"
    published = {"samples": 172, "samples of benign": 61, "samples of malignant": 111}  # noqa: RUF012
