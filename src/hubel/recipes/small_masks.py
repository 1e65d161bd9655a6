"""The plain U-Net for masks of up to 64 pixels: its first map is as large as the image, so that it sees every border.

    hubel train shapes:kind=segmentation,count=10000

Thin, and enlarging by repetition, it sees three times as many images a second as `unet` on ResNet-18, whose finest map
is half as large. Small batches, since steps are what it needs first: a few hundred of them tell figures from their
background, thousands tell them from one another.
"""

OPTIONS = {
    "model": "unet_plain",
    "model.width": 16,
    "model.upsampling": "nearest",
    "task": "segmentation",
    "task.inverse_frequency": 0.25,
    "optimizer.name": "adamw",
    "optimizer.lr": 0.005,
}
