//! ONNX models: files by hand and of PyTorch's exporters, against ONNX Runtime's outputs; and hostile ones.

#[path = "../common/allocator.rs"]
mod allocator;
mod beside;
mod door;
mod hostile;
mod models;
mod states;
mod ways;
mod wire;
mod writing;
