"""The PRN network in TensorFlow: its own variable names, its own checkpoint, its own outputs.

A program, so that TensorFlow never shares a process with the package:

    python prnet_tensorflow.py FOLDER [--serve] [--threads N]

writes a checkpoint with random weights and Adam slots, and `crops.npy` and `outputs.npy`, the
network's answer in 0..1. Names come from TensorFlow's own scopes (`Conv`, `Conv_1`, `resBlock_3`),
as they did in the authors' code, and padding is TensorFlow's own SAME: nothing here is shared with
`streamprn.engines.resfcn256`. With `--serve` it then times one crop
for every line that it reads.
"""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
CHECKPOINT = "256_256_resfcn256_weight"


class Network:
    """Builds the graph; random values come from one NumPy generator.

    With `calibrate` the statistics of every batch norm fit the power of its input, and `updates`
    stores them, so that the output is spread over 0..1 as a trained network's is. They are not
    each channel's own mean and variance: with those a random network of this depth is chaotic and
    turns rounding errors into noise, which no trained one does.
    """

    def __init__(self, seed, *, calibrate=False):
        self.rng = np.random.default_rng(seed)
        self.calibrate = calibrate
        self.updates = []

    def variable(self, name, value):
        initial = tf.constant(value.astype(np.float32))
        return tf1.get_variable(name, initializer=initial, use_resource=False)

    def norm(self, x):
        channels = x.shape[-1]
        with tf1.variable_scope("BatchNorm"):
            beta = self.variable("beta", 0.2 * self.rng.standard_normal(channels))
            gamma = self.variable("gamma", self.rng.uniform(0.7, 1.3, channels))
            mean = self.variable("moving_mean", np.zeros(channels))
            variance = self.variable("moving_variance", np.ones(channels))
        statistics = mean, variance
        if self.calibrate:
            power = tf.reduce_mean(x**2)
            offset = 0.2 * tf.sqrt(power) * self.rng.standard_normal(channels).astype("f4")
            statistics = offset, power * self.rng.uniform(0.7, 1.3, channels).astype("f4")
            self.updates += [mean.assign(statistics[0]), variance.assign(statistics[1])]
        y, *_ = tf1.nn.fused_batch_norm(
            x, gamma, beta, *statistics, epsilon=1e-3, is_training=False
        )
        return y

    def weights(self, kernel, first, second, taps, inputs):
        value = self.rng.standard_normal((kernel, kernel, first, second))
        return self.variable("weights", value * math.sqrt(2.0 / (taps * inputs)))

    def conv(self, x, outputs, kernel, stride=1, scope=None, plain=False):
        with tf1.variable_scope(scope, default_name="Conv"):
            inputs = x.shape[-1]
            w = self.weights(kernel, inputs, outputs, kernel**2, inputs)
            x = tf.nn.conv2d(x, w, stride, "SAME")
            return x if plain else tf.nn.relu(self.norm(x))

    def up(self, x, outputs, stride=1, activation=tf.nn.relu):
        with tf1.variable_scope(None, default_name="Conv2d_transpose"):
            size, inputs = x.shape[1] * stride, x.shape[-1]
            w = self.weights(4, outputs, inputs, 16 / stride**2, inputs)
            shape = tf.stack([tf.shape(x)[0], size, size, outputs])
            x = tf.nn.conv2d_transpose(x, w, shape, stride, "SAME")
            x.set_shape([None, size, size, outputs])
            return activation(self.norm(x))

    def block(self, x, outputs, stride):
        with tf1.variable_scope(None, default_name="resBlock"):
            shortcut = x
            if stride != 1 or x.shape[-1] != outputs:
                shortcut = self.conv(x, outputs, 1, stride, scope="shortcut", plain=True)
            x = self.conv(x, outputs // 2, 1)
            x = self.conv(x, outputs // 2, 4, stride)
            x = self.conv(x, outputs, 1, plain=True)
            return tf.nn.relu(self.norm(x + shortcut))

    def __call__(self, x):
        with tf1.variable_scope("resfcn256"):
            x = self.conv(x, 16, 4)
            for channels in (32, 64, 128, 256, 512):
                x = self.block(x, channels, 2)
                x = self.block(x, channels, 1)
            x = self.up(x, 512)
            for channels, repeats in ((256, 2), (128, 2), (64, 2), (32, 1), (16, 1)):
                x = self.up(x, channels, 2)
                for _ in range(repeats):
                    x = self.up(x, channels)
            x = self.up(self.up(x, 3), 3)
            return self.up(x, 3, activation=tf.nn.sigmoid)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    pictures = smooth_pictures(np.random.default_rng(args.seed + 1), 2)
    prefix = str(args.folder / CHECKPOINT)
    with tf1.Graph().as_default(), session(args.threads) as run:
        save(run, prefix, pictures, args.seed)
    with tf1.Graph().as_default(), session(args.threads) as run:
        crops = tf1.placeholder(tf.float32, [None, 256, 256, 3])
        maps = Network(args.seed)(crops)
        tf1.train.Saver().restore(run, prefix)
        np.save(args.folder / "crops.npy", pictures)
        np.save(args.folder / "outputs.npy", run.run(maps, {crops: pictures}))
        if args.serve:
            serve(run, maps, crops, pictures[:1])


def session(threads):
    config = tf1.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
    )
    return tf1.Session(config=config)


def save(run, prefix, pictures, seed):
    """Draw the weights, fit the moving statistics to the pictures, save with Adam's slots."""
    network = Network(seed, calibrate=True)
    network(tf.constant(pictures))
    trained = [v for v in tf1.global_variables() if "moving" not in v.name]
    # The authors trained with Adam: its slots are in their checkpoint and must be passed over.
    adam = tf1.train.AdamOptimizer(1e-4)
    adam.apply_gradients([(tf.ones_like(v), v) for v in trained])
    run.run(tf1.global_variables_initializer())
    run.run(network.updates)
    tf1.train.Saver().save(run, prefix, write_meta_graph=False, write_state=False)


def smooth_pictures(rng, count):
    """Pictures in 0..1 with detail at every scale, as photographs have."""
    picture = np.zeros((count, 256, 256, 3), np.float32)
    for size in (4, 16, 64, 256):
        noise = rng.standard_normal((count, size, size, 3)).astype(np.float32)
        picture += noise.repeat(256 // size, 1).repeat(256 // size, 2)
    return np.clip(0.5 + 0.15 * picture, 0, 1)


def serve(run, maps, crops, picture):
    """Time one crop for every line on standard input."""
    run.run(maps, {crops: picture})
    print(json.dumps({"version": f"TensorFlow {tf.__version__}"}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run.run(maps, {crops: picture})
        print(json.dumps({"ms": 1e3 * (time.perf_counter() - start)}), flush=True)


if __name__ == "__main__":
    main()
