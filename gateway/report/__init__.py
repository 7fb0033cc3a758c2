"""The page that stands beside a model: what it was learnt from, what it was measured on and what came out."""
