"""DeconvNet."""

from .rectified import Rectified


class DeconvNet(Rectified):
    """The gradient of the score, with ReLU applied to the gradient at each activation (Zeiler and Fergus 2014).

    At an activation the gradient g becomes max(g, 0), independent of the input: without max-pooling the map depends
    only on the network.
    """

    rule = "deconv"
