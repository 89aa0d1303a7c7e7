"""How words are pronounced and pronunciations are spelt: graphones."""
