"""How well a model understands: error rates, breakdowns, reports."""
