"""Whole residual blocks, band by band: channels that widen and narrow again never leave a tile's memory."""
