"""The longer form of the recipe for Fashion-MNIST: wider, more epochs, cutout.

hubel train fashion-mnist --recipe fashion-mnist-long            # aspiration: 95 %; not measured yet
"""

from hubel.recipes import fashion_mnist

OPTIONS = {
    **fashion_mnist.OPTIONS,
    "model.widths": (64, 128, 256),
    "epochs": 30,
    "schedule.warmup": 3.0,
    "regularize.ema": 0.999,
    "augment.cutout": 8,
}
