"""Files with structures and labels, as people have them."""
