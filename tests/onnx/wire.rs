//! Messages to write hostile files with.

/// A field of bytes.
pub fn bytes(field: u32, bytes: &[u8]) -> Vec<u8> {
    [varint(u64::from(field) << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A field of an integer.
pub fn integer(field: u32, number: i64) -> Vec<u8> {
    [varint(u64::from(field) << 3), varint(number as u64)].concat()
}

pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

pub fn text(field: u32, text: &str) -> Vec<u8> {
    bytes(field, text.as_bytes())
}

/// A node.
pub fn node(op: &str, name: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut message: Vec<u8> = inputs.iter().flat_map(|input| text(1, input)).collect();
    message.extend(outputs.iter().flat_map(|output| text(2, output)));
    message.extend([text(3, name), text(4, op)].concat());
    message.extend(attributes.iter().flat_map(|attribute| bytes(5, attribute)));
    message
}

/// An initializer of `f32` in `raw_data`.
pub fn tensor(name: &str, dims: &[i64], data: &[u8]) -> Vec<u8> {
    let mut message: Vec<u8> = dims.iter().flat_map(|&len| integer(1, len)).collect();
    message.extend([integer(2, 1), text(8, name), bytes(9, data)].concat());
    message
}

/// A graph of these nodes and initializers.
pub fn graph(nodes: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    let nodes = nodes.iter().flat_map(|node| bytes(1, node));
    nodes.chain(tensors.iter().flat_map(|tensor| bytes(5, tensor))).collect()
}

/// A model of this graph.
pub fn model(graph: &[u8]) -> Vec<u8> {
    [integer(1, 10), bytes(7, graph)].concat()
}
