"""The environment service: what is computed, kept, kept warm, and answered."""
