"""Registers metrics of faithfulness, of robustness, of complexity and of dependence on the model's weights."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "deletion": "heatproof_faithfulness.deletion:Deletion",
        "insertion": "heatproof_faithfulness.deletion:Insertion",
        "pixel_flipping": "heatproof_faithfulness.pixel_flipping:PixelFlipping",
        "selectivity": "heatproof_faithfulness.pixel_flipping:Selectivity",
        "irof": "heatproof_faithfulness.irof:Irof",
        "sensitivity_n": "heatproof_faithfulness.sensitivity_n:SensitivityN",
        "road": "heatproof_faithfulness.road:Road",
        "max_sensitivity": "heatproof_faithfulness.max_sensitivity:MaxSensitivity",
        "complexity": "heatproof_faithfulness.complexity:Complexity",
        "model_randomization": "heatproof_faithfulness.model_randomization:ModelRandomization",
    }


@hookimpl
def heatproof_synonyms() -> Mapping[str, str]:
    """Declare the names of these components in other libraries."""
    return {
        "Sparseness": "complexity",
        "IterativeRemovalOfFeatures": "irof",
        "RegionPerturbation": "pixel_flipping",
        "ModelParameterRandomisation": "model_randomization",
        "MPRT": "model_randomization",
    }
