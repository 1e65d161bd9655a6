"""A small network with a measured stem on colour photos of up to 64 pixels."""

OPTIONS = {
    "model": "airbench",
    "task": "classification",
    "task.smoothing": 0.2,
    "epochs": 44,
    "batch_size": 256,
    "optimizer.name": "muon",
    "optimizer.companion": "nesterov",
    "optimizer.lr": 0.05,
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 0.1,
    "schedule.name": "linear",
    "schedule.warmup": 4.4,
    "regularize.ema": 0.99,
    "augment.shift": 4,
    "augment.border": "mirror",
    "augment.flip": "alternating",
    "augment.crop": 0,
    "augment.cutout": 12,
    "views": "mirror",
    "keep": "last",
}
