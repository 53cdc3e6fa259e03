"""Files that were changed at random, to see that each is refused with a named error or is whole."""
