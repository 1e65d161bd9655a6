"""LeNet-5 on the handwritten digits of scikit-learn, upscaled from 8 x 8 to 32 x 32 pixels.

hubel train            # 10 s on two cores; test accuracy 99.1 % (n = 359, mean of seeds 0, 1, 2); a smoke test
"""

OPTIONS = {
    "model": "lenet5",
    "model.activation": "relu",
    "model.pool": "max",
    "task": "classification",
    "task.smoothing": 0.1,
    "epochs": 40,
    "batch_size": 64,
    "precision": "fp32",  # layers this small spend more time on conversions than bf16 saves
    "optimizer.name": "adamw",
    "optimizer.lr": 1e-2,
    "optimizer.weight_decay": 0.05,
    "schedule.name": "onecycle",
    "schedule.peak": 0.3,
    "schedule.final": 0.01,
    "augment.shift": 2,  # half a pixel of the source
    "augment.border": "edge",
    "augment.flip": "none",
    "keep": "last",
}
