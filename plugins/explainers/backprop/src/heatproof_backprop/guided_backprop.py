"""Guided backpropagation."""

from .rectified import Rectified


class GuidedBackprop(Rectified):
    """The gradient along paths on which every activation speaks for the target (Springenberg et al. 2015).

    At an activation f of z the gradient g becomes f'(z) max(g, 0) where z > 0, and 0 elsewhere.
    """

    rule = "guided"
