"""The checks of a month, one file each: a pure function from what was measured and reported to what was found."""
