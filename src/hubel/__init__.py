"""hubel gives a program sight: from a folder of images to a network that is trained, checked and explained."""
