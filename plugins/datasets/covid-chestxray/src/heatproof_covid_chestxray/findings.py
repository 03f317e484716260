"""The findings of the collection in both forms of its table, and their families."""

from heatproof_cohorts.tables import plain_name

WRITTEN = {
    "no_finding": "No Finding",
    "pneumonia": "Pneumonia",
    "viral": "Viral",
    "bacterial": "Bacterial",
    "fungal": "Fungal",
    "covid_19": "COVID-19",
    "sars": "SARS",
    "mers_cov": "MERS-CoV",
    "influenza": "Influenza",
    "h1n1": "H1N1",
    "herpes": "Herpes",
    "varicella": "Varicella",
    "streptococcus": "Streptococcus",
    "klebsiella": "Klebsiella",
    "e_coli": "E.Coli",
    "nocardia": "Nocardia",
    "mycoplasma": "Mycoplasma",
    "legionella": "Legionella",
    "chlamydophila": "Chlamydophila",
    "staphylococcus": "Staphylococcus",
    "mrsa": "MRSA",
    "pneumocystis": "Pneumocystis",
    "aspergillosis": "Aspergillosis",
    "lipoid": "Lipoid",
    "aspiration": "Aspiration",
    "ards": "ARDS",
    "tuberculosis": "Tuberculosis",
}
"""Name of each class in the table, where it may follow its families, as in ``Pneumonia/Viral/SARS``."""

CLASSES = tuple(WRITTEN)

NAMES = {plain_name(text): name for name, text in WRITTEN.items()} | {
    plain_name("Mycoplasma Bacterial Pneumonia"): "mycoplasma",
}
UNKNOWN = {"", "todo", "unknown"}

_MEMBERS = {
    "viral": ("covid_19", "sars", "mers_cov", "influenza", "h1n1", "herpes", "varicella"),
    "bacterial": (
        "streptococcus", "klebsiella", "e_coli", "nocardia", "mycoplasma", "legionella", "chlamydophila",
        "staphylococcus", "mrsa",
    ),
    "fungal": ("pneumocystis", "aspergillosis"),
}  # fmt: skip
FAMILIES = {name: family for family, names in _MEMBERS.items() for name in names}
"""The family of a finding; other findings have none and remain as they are."""
