"""A convolutional network of three blocks on Fashion-MNIST."""

OPTIONS = {
    "model": "convnet",
    "task": "classification",
    "epochs": 8,
    "batch_size": 128,
    "optimizer.name": "nesterov",
    "optimizer.lr": 0.1,
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 5e-4,
    "schedule.name": "onecycle",
    "augment.shift": 2,
    "augment.flip": "random",
    "keep": "last",
}
