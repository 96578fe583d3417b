//! The README's pictures in the crate documentation.
//!
//! Documentation pages cannot link to `docs/unroll.svg`. `docs/pictures.md` defines the same pictures as data URIs. It
//! precedes the README in the crate documentation, where the first definition of a name counts.

const PICTURES: [(&str, &str); 3] = [
    ("unroll", include_str!("../../docs/unroll.svg")),
    ("masking", include_str!("../../docs/masking.svg")),
    ("peers", include_str!("../../docs/peers.svg")),
];

fn data_uri(svg: &str) -> String {
    let lines: Vec<&str> = svg.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut uri = String::from("data:image/svg+xml,");
    for byte in lines.join(" ").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/=,;".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[test]
fn data_uris_are_those_of_the_svg_files() {
    let expected: String = PICTURES.iter().map(|(name, svg)| format!("[{name}]: {}\n", data_uri(svg))).collect();
    if include_str!("../../docs/pictures.md") != expected {
        let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/pictures.md");
        std::fs::write(path, expected).unwrap();
        panic!("a picture has changed: copy {path} to docs/pictures.md");
    }
}
