"""Writes tests/fixtures/readers/keras{2,3}*: a model in every format that Keras has, with an input and its own outputs.

    pip install tensorflow==2.15.1    # Keras 2; then once more with Keras 3: pip install keras torch h5py
    python tools/keras_files.py
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

FOLDER = "tests/fixtures/readers"
MAJOR = keras.__version__.split(".")[0]
L = keras.layers
rng = np.random.default_rng(1)


def randomized(model):
    # Biases start at 0, which would hide a wrong order.
    model.set_weights([rng.normal(scale=0.5, size=w.shape) for w in model.get_weights()])
    return model


def inner(name, **options):
    """A model in a model, whose layer has the same name as another model's."""
    return keras.Sequential([L.Input((5, 2)), L.LSTM(2, name="lstm", return_sequences=True, **options)], name=name)


hard = "hard_sigmoid" if MAJOR == "2" else "sigmoid"
model = randomized(
    keras.Sequential(
        [
            L.Input((5, 3)),
            L.Bidirectional(L.LSTM(2, return_sequences=True)),
            L.GRU(2, name="gate", reset_after=False, use_bias=False, return_sequences=True),
            L.SimpleRNN(2, activation="relu", go_backwards=True, return_sequences=True),
            inner("a", recurrent_activation=hard),
            inner("b"),
            L.RNN([L.GRUCell(2), L.LSTMCell(2, activation="softsign")], return_sequences=True),
            L.RNN(L.GRUCell(2), return_sequences=True, name="cell"),
            L.Dense(1),
        ]
    )
)
x = rng.normal(size=(2, 5, 3)).astype("float32")
np.savez(f"{FOLDER}/keras{MAJOR}.npz", x=x, outputs=model.predict(x, verbose=0))
model.save(f"{FOLDER}/keras{MAJOR}.h5")
model.save(f"{FOLDER}/keras{MAJOR}.keras")

# Weights alone, a layer that no cell is like, and numbers of 16 bits.
small = keras.Sequential([L.Input((5, 3)), L.GRU(2, activation="softplus"), L.Dense(1, dtype="float16")])
small.save_weights(f"{FOLDER}/keras{MAJOR}.weights.h5")
small.save(f"{FOLDER}/keras{MAJOR}_small.keras")
if MAJOR == "3":
    brain = keras.Sequential([L.Input((3,)), L.Dense(1, dtype="bfloat16")])
    brain.set_weights([np.array([[1.0], [-2.0], [0.5]]), np.array([0.25])])
    brain.save_weights(f"{FOLDER}/keras3_bfloat16.weights.h5")
    # What a tool that compresses makes of it, and of many zeros.
    import h5py

    with h5py.File(f"{FOLDER}/compressed.weights.h5", "w") as file:
        kernel = np.array([[1.0], [-2.0], [0.5]], "f4")
        file.create_dataset("layers/dense/vars/0", data=kernel, chunks=(2, 1), compression="gzip", shuffle=True)
        file.create_dataset("layers/dense/vars/1", data=np.array([0.25], ">f4"))
    with h5py.File(f"{FOLDER}/bomb.weights.h5", "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.zeros(2_500_000, "f4"), chunks=(2_500_000,), compression="gzip")
    # A group that is in itself, twice, and a size that no memory has.
    with h5py.File(f"{FOLDER}/cycle.weights.h5", "w") as file:
        file["layers/a"] = file["layers/b"] = file.require_group("layers")
    # A chunk much larger than its dataset, and a filter twice.
    with h5py.File(f"{FOLDER}/chunk.weights.h5", "w") as file:
        options = {"maxshape": (None,), "chunks": (2_500_000,), "compression": "gzip"}
        file.create_dataset("layers/dense/vars/0", data=np.ones(10, "f4"), **options)
    with h5py.File(f"{FOLDER}/filters.weights.h5", "w") as file:
        options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        options.set_chunk((10,))
        options.set_deflate(9)
        options.set_deflate(9)
        space = h5py.h5s.create_simple((10,))
        h5py.h5d.create(file.id, b"kernel", h5py.h5t.IEEE_F32LE, space, options).write(space, space, np.ones(10, "f4"))
    with h5py.File(f"{FOLDER}/overflow.weights.h5", "w") as file:
        file.create_dataset("layers/dense/vars/0", (2**40, 2**40), "f4", chunks=(1, 1))
    # A model that was unpacked and packed again.
    import zipfile

    with zipfile.ZipFile(f"{FOLDER}/keras3.keras") as archive:
        with zipfile.ZipFile(f"{FOLDER}/keras3_compressed.keras", "w", zipfile.ZIP_DEFLATED) as packed:
            for name in archive.namelist():
                packed.writestr(name, archive.read(name))
    # Shards of 170 bytes, so that layers are divided, and an optimizer's variables among them.
    layers = [L.LSTM(2, return_sequences=True), L.GRU(2, return_sequences=True), L.Dense(1)]
    sharded = randomized(keras.Sequential([L.Input((5, 3)), *layers]))
    sharded.compile("adam", "mse")
    sharded.save_weights(f"{FOLDER}/keras3_shards.weights.json", max_shard_size=170 / 1024**3)
    x = np.random.default_rng(6).normal(size=(2, 5, 3)).astype("f4")
    np.savez(f"{FOLDER}/keras3_shards.npz", x=x, outputs=sharded.predict(x, verbose=0))
    hard = keras.Sequential([L.Input((5, 3)), L.LSTM(2, recurrent_activation="hard_sigmoid", name="hard")])
    hard.save(f"{FOLDER}/keras3_hard.keras")
    x = np.random.default_rng(5).uniform(-8, 8, (2, 5, 3)).astype("f4")
    hard.layers[0].return_sequences = True
    outputs = keras.ops.convert_to_numpy(hard.layers[0](x))
    np.savez(f"{FOLDER}/keras3_hard.npz", x=x, outputs=outputs)
    # Normalizations, whose weights have numbers for names there.
    layers = [L.BatchNormalization(), L.LSTM(2, return_sequences=True), L.BatchNormalization(scale=False), L.Dense(1)]
    normalized = keras.Sequential([L.Input((5, 3)), *layers])
    numbers = np.random.default_rng(7)
    normalized.set_weights([numbers.uniform(0.5, 1.5, w.shape) for w in normalized.get_weights()])
    normalized.save(f"{FOLDER}/keras3_normalized.keras")
    x = numbers.normal(size=(2, 5, 3)).astype("f4")
    np.savez(f"{FOLDER}/keras3_normalized.npz", x=x, outputs=normalized.predict(x, verbose=0))
    layers = [L.BatchNormalization(), L.BatchNormalization(scale=False), L.LayerNormalization(), L.Dense(1)]
    keras.Sequential([L.Input((5, 3)), *layers]).save_weights(f"{FOLDER}/keras3_normalized.weights.h5")
else:
    import json

    import h5py

    small.save_weights(f"{FOLDER}/keras2_only_weights.h5")
    # CuDNN's layers run only on a GPU, but Keras itself reads their weights into others. So a file is made theirs.
    layers = [L.LSTM(2, return_sequences=True, name="a"), L.GRU(2, return_sequences=True, name="b")]
    cpu = keras.Sequential([L.Input((5, 3)), *layers])
    cpu.save(f"{FOLDER}/keras2_cudnn.h5", include_optimizer=False)
    with h5py.File(f"{FOLDER}/keras2_cudnn.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer, gates, inputs in [(config["config"]["layers"][1], 4, 3), (config["config"]["layers"][2], 3, 2)]:
            layer["class_name"] = "CuDNN" + layer["class_name"]
            for key in ["activation", "recurrent_activation", "use_bias", "dropout", "implementation", "reset_after"]:
                layer["config"].pop(key, None)
            name = layer["config"]["name"]
            group = file["model_weights"][name]
            del group[name]
            shapes = {"kernel": (inputs, gates * 2), "recurrent_kernel": (2, gates * 2), "bias": (2 * gates * 2,)}
            for weight, shape in shapes.items():
                group[f"{name}/{weight}:0"] = rng.normal(scale=0.5, size=shape).astype("float32")
            group.attrs["weight_names"] = [f"{name}/{weight}:0".encode() for weight in shapes]
        file.attrs["model_config"] = json.dumps(config)
    cpu.load_weights(f"{FOLDER}/keras2_cudnn.h5")
    np.savez(f"{FOLDER}/keras2_cudnn.npz", x=x, outputs=cpu.predict(x, verbose=0))
