"""Evidence packs: everything that a stranger needs to recompute a closed month, signed, in one file."""
