"""The longer form of the recipe for Fashion-MNIST."""

from hubel.recipes import fashion_mnist

OPTIONS = {**fashion_mnist.OPTIONS, "epochs": 60}
