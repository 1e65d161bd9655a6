"""A small residual network of four stages for the one object of an image: its class and box, its box, its joints.

    hubel train shapes:most=1 --task localisation            # 1,000 images of 64 pixels, 600 to learn from

Thin, since images of 64 pixels cost a wide network sixteen times as much, and one stage more than `resnet8` has by
itself: the last map then sees most of an object. Classes are scored as they are (`logit_scale` 1): an eighth, which
suits a network whose classes are all that it learns, left them behind the box.
"""

OPTIONS = {
    "model": "resnet8",
    "model.widths": (16, 32, 64, 128),
    "model.logit_scale": 1.0,
}
