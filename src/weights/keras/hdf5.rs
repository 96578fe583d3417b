//! The datasets of an HDF5 file.

use crate::weights::stored::Stored;
use hdf5_pure::{Dataset, Datatype, DatatypeByteOrder, File, Group, Layout};
use std::borrow::Cow;

/// How deep groups may be nested.
const MAX_DEPTH: usize = 64;
/// Bytes of compressed datasets: this many for one of the file, and as many as a small file may need.
const INFLATED: u64 = 32;
const INFLATED_ANYWAY: u64 = 1 << 20;

const TOO_MUCH: &str = "it would take much more memory than its length";
/// HDF5's numbers of deflate, shuffle, Fletcher's checksum and LZF, the filters of h5py.
const FILTERS: [u16; 4] = [1, 2, 3, 32000];

/// Lists the datasets of a file.
pub(super) struct Reader<'a> {
    bytes: Cow<'a, [u8]>,
    file: File,
    /// Bytes that may still be copied.
    budget: u64,
}

/// A dataset's path, from the group that was listed.
pub(super) type Path = Vec<String>;

impl<'a> Reader<'a> {
    /// The file has `whole` bytes, or is compressed in one that has.
    pub(super) fn open(bytes: Cow<'a, [u8]>, whole: usize) -> Result<Self, String> {
        let file = File::from_bytes(bytes.to_vec()).map_err(|error| error.to_string())?;
        let end = file.superblock().eof_address;
        if end > bytes.len() as u64 {
            return Err(format!("it must have {end} bytes, but has {}", bytes.len()));
        }
        let budget = INFLATED_ANYWAY + INFLATED.saturating_mul(whole as u64);
        Ok(Self { bytes, file, budget })
    }

    pub(super) fn root(&self) -> Group {
        self.file.root()
    }

    /// The datasets below a group, but not those in its groups called `skipped`.
    pub(super) fn datasets(&mut self, group: &Group, skipped: &str) -> Result<Vec<(Path, Stored<'a>)>, String> {
        let mut found = Vec::new();
        self.visit(group, skipped, &mut Vec::new(), &mut found)?;
        Ok(found)
    }

    fn visit(
        &mut self,
        group: &Group,
        skipped: &str,
        path: &mut Path,
        found: &mut Vec<(Path, Stored<'a>)>,
    ) -> Result<(), String> {
        if path.len() == MAX_DEPTH {
            return Err(format!("its groups are nested deeper than {MAX_DEPTH}, or contain themselves"));
        }
        for (name, dataset) in group.iter_datasets().map_err(|error| error.to_string())? {
            path.push(name);
            self.spend(path.iter().map(|part| part.len() as u64 + 64).sum())?;
            let stored = self.dataset(&dataset).map_err(|reason| format!("dataset {:?}: {reason}", path.join("/")))?;
            found.push((path.clone(), stored));
            path.pop();
        }
        for (name, group) in group.iter_groups().map_err(|error| error.to_string())? {
            if name != skipped {
                path.push(name);
                self.spend(path.len() as u64 * 64)?;
                self.visit(&group, skipped, path, found)?;
                path.pop();
            }
        }
        Ok(())
    }

    /// Groups and datasets may have many names, so the file's length bounds nothing by itself.
    fn spend(&mut self, bytes: u64) -> Result<(), String> {
        self.budget = self.budget.checked_sub(bytes).ok_or(TOO_MUCH)?;
        Ok(())
    }

    /// A chunk becomes all of its own size before its numbers are copied, which may be much more than the dataset's.
    fn check_chunks(&self, dataset: &Dataset, width: usize) -> Result<(), String> {
        if !dataset.is_chunked() {
            return Ok(());
        }
        let mut filters = dataset.filters();
        filters.sort_unstable();
        if filters.iter().any(|filter| !FILTERS.contains(filter)) || filters.windows(2).any(|two| two[0] == two[1]) {
            return Err(format!("its filters must be of {FILTERS:?}, each once, but are {filters:?}"));
        }
        let chunk = dataset.chunk_shape().map_err(|error| error.to_string())?.unwrap_or_default();
        if chunk.is_empty() || chunk.contains(&0) {
            return Err(format!("its chunks must have a size, but have {chunk:?}"));
        }
        let len = chunk.iter().fold(width as u64, |all, &axis| all.saturating_mul(axis));
        if len > self.budget { Err(TOO_MUCH.into()) } else { Ok(()) }
    }

    fn dataset(&mut self, dataset: &Dataset) -> Result<Stored<'a>, String> {
        let shape = dataset.shape().map_err(|error| error.to_string())?;
        if shape.len() > 64 {
            return Err(format!("it has {} axes, but at most 64 are read", shape.len()));
        }
        let shape: Vec<usize> = shape.into_iter().map(|axis| usize::try_from(axis).unwrap_or(usize::MAX)).collect();
        let datatype = dataset.datatype().map_err(|error| error.to_string())?;
        let Some((dtype, width)) = dtype(&datatype, dataset) else {
            let found = dataset.dtype().map_or_else(|_| "unknown".into(), |dtype| dtype.to_string());
            return Ok(Stored::new(found, shape, Vec::new()));
        };
        let len = shape.iter().try_fold(width, |all, &axis| all.checked_mul(axis));
        let len = len.ok_or_else(|| format!("{shape:?} of {dtype} takes more bytes than memory has addresses for"))?;
        if let Ok(Layout::Contiguous { address: Some(address), size }) = dataset.layout() {
            let start = usize::try_from(address).unwrap_or(usize::MAX);
            let end = start.checked_add(len).filter(|&end| size == len as u64 && end <= self.bytes.len());
            let end = end.ok_or_else(|| {
                format!("{shape:?} of {dtype} takes {len} bytes, but {size} from byte {address} on are claimed")
            })?;
            let numbers = match self.bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[start..end]),
                Cow::Owned(_) => {
                    self.spend(len as u64)?;
                    Cow::Owned(self.bytes[start..end].to_vec())
                }
            };
            return Ok(Stored::new(dtype, shape, numbers));
        }
        self.spend(len as u64)?;
        self.check_chunks(dataset, width)?;
        let bytes = dataset.read_raw().map_err(|error| error.to_string())?;
        if bytes.len() != len {
            return Err(format!("{shape:?} of {dtype} takes {len} bytes, but there are {}", bytes.len()));
        }
        Ok(Stored::new(dtype, shape, bytes))
    }
}

/// safetensors' name for a type of little-endian numbers, and bytes.
fn dtype(datatype: &Datatype, dataset: &Dataset) -> Option<(&'static str, usize)> {
    use DatatypeByteOrder::LittleEndian;
    match datatype {
        // h5py has no bfloat16, so Keras names it beside.
        Datatype::Opaque { size: 2, .. } => {
            let attributes = dataset.attrs().ok()?;
            (attributes.get("dtype")?.as_str()? == "bfloat16").then_some(("BF16", 2))
        }
        Datatype::FloatingPoint { size, byte_order: LittleEndian, layout } => {
            match (size, layout.exponent_size, layout.mantissa_size) {
                (8, 11, 52) => Some(("F64", 8)),
                (4, 8, 23) => Some(("F32", 4)),
                (2, 5, 10) => Some(("F16", 2)),
                _ => None,
            }
        }
        Datatype::FixedPoint { byte_order: LittleEndian, .. } => match dataset.dtype().ok()?.to_string().as_str() {
            "i64" => Some(("I64", 8)),
            "i32" => Some(("I32", 4)),
            "i16" => Some(("I16", 2)),
            "i8" => Some(("I8", 1)),
            "u64" => Some(("U64", 8)),
            "u32" => Some(("U32", 4)),
            "u16" => Some(("U16", 2)),
            "u8" => Some(("U8", 1)),
            _ => None,
        },
        _ => None,
    }
}
