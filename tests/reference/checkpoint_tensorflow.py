"""Writes tests/data/checkpoint: a small checkpoint of TensorFlow's own, and the same as NumPy.

python checkpoint_tensorflow.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
SHAPES = {
    "a/weights": ((4, 4, 3, 2), np.float32),
    "a/BatchNorm/gamma": ((2,), np.float32),
    "b/half": ((3, 5), np.float16),
    "b/flags": ((9,), np.bool_),
    "c/empty": ((0, 7), np.float32),
    "counter": ((), np.int64),
    "d/double": ((2, 2), np.float64),
}


def main():
    tf1.disable_eager_execution()
    rng = np.random.default_rng(0)
    values = {
        f"net/{name}": (10 * rng.standard_normal(shape)).astype(dtype)
        for name, (shape, dtype) in SHAPES.items()
    }
    for name, value in values.items():
        tf1.get_variable(name, initializer=tf.constant(value))
    tf1.get_variable("net/text", initializer=tf.constant("no numbers"))
    folder = Path(sys.argv[1])
    with tf1.Session() as session:
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(
            session, str(folder / "small"), write_meta_graph=False, write_state=False
        )
    np.savez(folder / "small.npz", **values)


if __name__ == "__main__":
    main()
