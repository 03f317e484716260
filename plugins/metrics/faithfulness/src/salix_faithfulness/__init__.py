"""Registers how faithful, robust and dependent on the model heatmaps are."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "deletion": "salix_faithfulness.deletion:Deletion",
        "insertion": "salix_faithfulness.deletion:Insertion",
        "pixel_flipping": "salix_faithfulness.pixel_flipping:PixelFlipping",
        "road": "salix_faithfulness.road:Road",
        "max_sensitivity": "salix_faithfulness.max_sensitivity:MaxSensitivity",
        "model_randomization": "salix_faithfulness.model_randomization:ModelRandomization",
    }
