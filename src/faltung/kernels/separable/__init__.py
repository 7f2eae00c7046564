"""A filter in space for each channel and a mix of channels, without the array between the two."""
