"""Registers metrics of faithfulness, of robustness and of dependence on the model's weights."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "deletion": "heatproof_faithfulness.deletion:Deletion",
        "insertion": "heatproof_faithfulness.deletion:Insertion",
        "pixel_flipping": "heatproof_faithfulness.pixel_flipping:PixelFlipping",
        "road": "heatproof_faithfulness.road:Road",
        "max_sensitivity": "heatproof_faithfulness.max_sensitivity:MaxSensitivity",
        "model_randomization": "heatproof_faithfulness.model_randomization:ModelRandomization",
    }
