"""The LSTM language model that judges finished hypotheses."""
