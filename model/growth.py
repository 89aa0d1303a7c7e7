"""Deeper networks out of trained ones: new layers begin by passing on what they get."""

from __future__ import annotations

from dataclasses import replace

import torch
from ossicle.model.network import Network, RecurrentLayer


def deepened(network: Network, layers: int) -> Network:
    """The same function with more recurrent layers on top: their matrices are all zeros.

    Such a recurrence says nothing, so that the path around it is all there is of its layer. It
    learns nevertheless: what it should have said differs from unit to unit. (After Chen et al.
    2016, "Net2Net", whose new layers are identities, too.)

    Args:
        layers: of the result; as many as there are or more.
    """
    config = network.config
    deeper = Network(replace(config, network=replace(config.network, layers=layers)))
    with torch.no_grad():
        for layer in deeper.layers[config.network.layers :]:
            assert isinstance(layer, RecurrentLayer)
            for parameter in layer.recurrence.parameters():
                if parameter.ndim > 1:
                    parameter.zero_()
    deeper.load_state_dict(deeper.state_dict() | network.state_dict())
    return deeper.train(network.training)
