"""The same networks in Keras' own layers, as its users write them. Import it with KERAS_BACKEND=torch set."""

from __future__ import annotations

from typing import Any

from keras import Input, Model, Sequential, layers


def conv_bn(channels: int, size: int = 3, stride: int = 1, relu: bool = True) -> Any:
    conv = layers.Conv2D(channels, size, strides=stride, padding="same", use_bias=False)
    return Sequential([conv, layers.BatchNormalization(), *([layers.ReLU()] if relu else [])])


def lenet5(classes: int, shape: tuple[int, int, int]) -> Any:
    return Sequential(
        [
            *(Input(shape), layers.Conv2D(6, 5, padding="same", activation="tanh"), layers.AveragePooling2D(2)),
            *(layers.Conv2D(16, 5, activation="tanh"), layers.AveragePooling2D(2), layers.Flatten()),
            *(layers.Dense(120, "tanh"), layers.Dense(84, "tanh"), layers.Dense(classes)),
        ]
    )


def small_cnn(classes: int, shape: tuple[int, int, int]) -> Any:
    return Sequential(
        [
            *(Input(shape), conv_bn(16), conv_bn(32), layers.MaxPooling2D()),
            *(conv_bn(64), layers.MaxPooling2D(), conv_bn(64), layers.GlobalMaxPooling2D(), layers.Dense(classes)),
        ]
    )


def resnet18(classes: int, shape: tuple[int, int, int]) -> Any:
    images = Input(shape)
    x = layers.MaxPooling2D(3, 2, padding="same")(conv_bn(64, 7, 2)(images))
    for i, width in enumerate((64, 128, 256, 512)):
        for stride in (1 if i == 0 else 2, 1):
            skip = x if (x.shape[-1], stride) == (width, 1) else conv_bn(width, 1, stride, relu=False)(x)
            x = layers.ReLU()(layers.add([skip, conv_bn(width, relu=False)(conv_bn(width, 3, stride)(x))]))
    return Model(images, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


NETWORKS = {"lenet5": lenet5, "small_cnn": small_cnn, "resnet18": resnet18}
