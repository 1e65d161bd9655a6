"""LeNet-5 on the handwritten digits of scikit-learn."""

OPTIONS = {
    "model": "lenet5",
    "task": "classification",
    "epochs": 30,
    "batch_size": 64,
    "optimizer.name": "adamw",
    "optimizer.lr": 3e-3,
    "optimizer.weight_decay": 1e-2,
    "schedule.name": "onecycle",
    "augment.shift": 1,
    "augment.flip": "none",
}
