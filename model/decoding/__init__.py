"""Decoding: from log-probabilities to texts, words, times and confidences."""
