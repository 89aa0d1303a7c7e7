"""How batches of audio become text: features, network, training, decoding, export."""
