"""Skills that act without torch: one skill of a library as a file for ONNX Runtime or for NumPy alone.

card.py      what such a file says of itself, and what it was compared on
onnx.py      the file for ONNX Runtime
arrays.py    the file for NumPy
runner.py    acts by either; a module of its own, copied beside the file
exporting.py export_skill(): writes, compares, and puts all in one folder
"""
