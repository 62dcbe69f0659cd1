"""The mosaik simulators: each wraps pure models and derives its META from their ports."""
