#!/usr/bin/env python3
"""A network of TensorFlow as tf2onnx writes it, with seeded random weights:

    python3 tensorflow_models.py DIR           DIR/mobile/model.onnx, DIR/mobile/samples.npz: an array [samples, ...] per input

The interpreter has tensorflow (or tensorflow-cpu) and tf2onnx of PyPI."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf2onnx

SIZE = 64


def network(batch):
    """Inverted residuals with squeeze and excitation; the padding of strides is TensorFlow's, of one side."""
    layers = tf.keras.layers

    def normed(x, activation):
        return layers.Activation(activation)(layers.BatchNormalization(momentum=0.0)(x))

    def block(x, width, stride):
        y = normed(layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x), "silu")
        y = normed(layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(y), "silu")
        s = layers.GlobalAveragePooling2D(keepdims=True)(y)
        s = layers.Conv2D(y.shape[-1], 1, activation="sigmoid")(layers.Conv2D(8, 1, activation="relu")(s))
        y = layers.BatchNormalization(momentum=0.0)(layers.Conv2D(width, 1, use_bias=False)(layers.Multiply()([y, s])))
        return layers.Add()([x, y]) if stride == 1 else y

    image = tf.keras.Input((SIZE, SIZE, 3), batch_size=batch, name="image")
    x = normed(layers.Conv2D(16, 3, 2, "same", use_bias=False)(image), "relu6")
    for width, stride in ((24, 2), (24, 1), (40, 2), (40, 1)):
        x = block(x, width, stride)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(normed(layers.Conv2D(96, 1)(x), "hard_silu")))
    return tf.keras.Model(image, layers.Dense(10, "softmax")(x))


def pictures(count):
    random = np.random.default_rng(1)
    coarse = random.normal(size=(count, SIZE // 8, SIZE // 8, 3)).repeat(8, 1).repeat(8, 2)
    return (coarse + 0.3 * random.normal(size=(count, SIZE, SIZE, 3))).astype(np.float32)


def main(out):
    tf.keras.utils.set_random_seed(0)
    free, model, samples = network(None), network(1), pictures(8)
    for layer in free.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.gamma.assign(tf.random.uniform(layer.gamma.shape, 0.7, 1.3))
            layer.beta.assign(tf.random.normal(layer.beta.shape, 0.3, 0.5))
    free(samples, training=True)  # with a momentum of 0, mean and variance of the norms are these pictures'
    model.set_weights(free.get_weights())
    (out / "mobile").mkdir(parents=True)

    @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32, name="image")])
    def run(image):
        return model(image, training=False)
    tf2onnx.convert.from_function(run, run.input_signature, opset=17, output_path=str(out / "mobile" / "model.onnx"))
    np.savez(out / "mobile" / "samples.npz", image=samples[:, None])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
