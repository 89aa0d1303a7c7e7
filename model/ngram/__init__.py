"""The word n-gram language model: counting, smoothing, pruning, its file."""
