"""A residual network of three blocks on small colour photos."""

OPTIONS = {
    "model": "resnet8",
    "task": "classification",
    "epochs": 30,
    "batch_size": 128,
    "optimizer.name": "nesterov",
    "optimizer.lr": 0.1,
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 5e-4,
    "schedule.name": "onecycle",
    "augment.shift": 4,
    "augment.flip": "alternating",
    "augment.cutout": 8,
    "keep": "last",
}
