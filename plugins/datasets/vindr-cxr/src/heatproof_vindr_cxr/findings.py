"""The classes of VinDr-CXR: 22 findings with boxes, five diagnoses, and images without any of them."""

from heatproof_cohorts.tables import plain_name

LOCAL = {
    "aortic_enlargement": "Aortic enlargement",
    "atelectasis": "Atelectasis",
    "calcification": "Calcification",
    "cardiomegaly": "Cardiomegaly",
    "clavicle_fracture": "Clavicle fracture",
    "consolidation": "Consolidation",
    "edema": "Edema",
    "emphysema": "Emphysema",
    "enlarged_pa": "Enlarged PA",
    "ild": "ILD",
    "infiltration": "Infiltration",
    "lung_opacity": "Lung Opacity",
    "lung_cavity": "Lung cavity",
    "lung_cyst": "Lung cyst",
    "mediastinal_shift": "Mediastinal shift",
    "nodule_mass": "Nodule/Mass",
    "pleural_effusion": "Pleural effusion",
    "pleural_thickening": "Pleural thickening",
    "pneumothorax": "Pneumothorax",
    "pulmonary_fibrosis": "Pulmonary fibrosis",
    "rib_fracture": "Rib fracture",
    "other_lesion": "Other lesion",
}
"""Finding with boxes → its name in the tables."""
NONE = "No finding"
DISEASES = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other disease")
CLASSES = (NONE, *LOCAL.values(), *DISEASES)
FINDINGS = {plain_name(name): finding for finding, name in LOCAL.items()}
OTHER = ("Other disease", "Other diseases")
"""The two names of one column."""
SYNONYMS = {"enlarged_cardiac_silhouette": "cardiomegaly"}
"""Findings of other datasets that are written as one of these."""
