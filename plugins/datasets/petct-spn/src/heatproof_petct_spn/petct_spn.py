"""PET/CT of solitary pulmonary nodules: images of benign and of malignant ones."""

from heatproof_cohorts.folders import FolderDataset


class PetctSpn(FolderDataset):
    """172 nodules, 61 benign and 111 malignant, as Athanasoula et al. explained them by Grad-CAM.

    Athanasoula et al., who explain a feature-fusion VGG19 by Grad-CAM on seven medical datasets, give these counts and
    no source, layout or split. So images lie in two folders named as the classes; nothing is annotated.
    """

    classes = ("benign", "malignant")
    citation = (
        "the PET/CT dataset among the seven of Athanasoula et al. (Grad-CAM, FF-VGG19); no public source is known"
    )
    licence = "whatever its owners say"
    obtain = "no public source is known, so ask the authors of the study, and lay the images into these folders"
    published = {"samples": 172, "samples of benign": 61, "samples of malignant": 111}  # noqa: RUF012
