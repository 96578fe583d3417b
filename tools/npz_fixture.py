"""Writes tests/fixtures/readers/*.npz: arrays as `numpy.savez` and `savez_compressed` write them.

    pip install numpy
    python tools/npz_fixture.py
"""

import io
import zipfile

import numpy as np

FOLDER = "tests/fixtures/readers"
matrix = np.arange(12).reshape(3, 4) / 4

types = "float64 float32 float16 int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool".split()
np.savez(f"{FOLDER}/types.npz", **{name: np.array([0, 1, 1], name) for name in types})

arrays = {
    "matrix": matrix,
    "fortran": np.asfortranarray(matrix),
    "transposed": matrix.T,
    "cube": np.asfortranarray(np.arange(24.0, dtype="f4").reshape(2, 3, 4)),
    "scope/kernel:0": matrix.astype("f2"),
    "scalar": np.array(1.5),
    "empty": np.zeros((0, 3), order="F"),
    "big": matrix.astype(">f4"),
    "words": np.array(["ab", "c"]),
}
np.savez(f"{FOLDER}/arrays.npz", **arrays)
np.savez_compressed(f"{FOLDER}/compressed.npz", **arrays)

# Versions 2 and 3 of the header, for long ones and for names that are not ASCII.
with zipfile.ZipFile(f"{FOLDER}/versions.npz", "w") as archive:
    for version in [(1, 0), (2, 0), (3, 0)]:
        file = io.BytesIO()
        np.lib.format.write_array(file, matrix, version=version)
        archive.writestr(f"v{version[0]}.npy", file.getvalue())

np.savez(f"{FOLDER}/structured.npz", points=np.zeros(2, [("x", "f4"), ("y", "f4")]))
np.savez_compressed(f"{FOLDER}/bomb.npz", zeros=np.zeros(2_500_000, "f4"))
