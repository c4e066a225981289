"""Events: what a part of the system tells whoever listens, in this process or, through Redis, in others."""
