"""The classes of CheXpert, and the findings that CheXlocalize outlines."""

CLASSES = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
OPACITY = ("Lung Opacity", "Airspace Opacity")
"""The two names of one class: that of CheXpert's tables, and that of the outlines."""
OUTLINED = {
    "enlarged_cardiomediastinum": "Enlarged Cardiomediastinum",
    "cardiomegaly": "Cardiomegaly",
    "lung_lesion": "Lung Lesion",
    "lung_opacity": "Airspace Opacity",
    "edema": "Edema",
    "consolidation": "Consolidation",
    "atelectasis": "Atelectasis",
    "pneumothorax": "Pneumothorax",
    "pleural_effusion": "Pleural Effusion",
    "support_devices": "Support Devices",
}
"""Finding → its name in the files of outlines."""
INDICES = {finding: CLASSES.index(name.replace(*OPACITY[::-1])) for finding, name in OUTLINED.items()}
"""Finding → the index of its class."""
SYNONYMS = {"enlarged_cardiac_silhouette": "cardiomegaly"}
"""Findings of other datasets that are written as one of these."""
