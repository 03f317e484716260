"""DeconvNet."""

from .rectified import Rectified


class DeconvNet(Rectified):
    """The target's score sent back through a network whose activations act on the way back (Zeiler and Fergus 2014).

    At an activation the gradient g becomes max(g, 0), whatever its input was: without max-pooling the map depends on
    the network alone.
    """

    rule = "deconv"
