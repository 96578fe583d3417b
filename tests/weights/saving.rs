//! What happens to an existing file while another is written: links, permissions, things that are not files, full
//! disks, killed processes.

use crate::common::rng;
use rnn_cell::weights::safetensors;
use rnn_cell::{Error, Lstm};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("saving").join(name);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => fs::create_dir_all(&folder).unwrap(),
    }
    folder
}

/// 132 KB of weights.
fn cell(seed: u64) -> Lstm<f32> {
    Lstm::new(64, 64, &mut rng(seed))
}

fn bytes(seed: u64) -> Vec<u8> {
    safetensors::to_bytes(&cell(seed)).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_made_and_replaced_and_nothing_else_is_left() {
    let folder = folder("plain");
    let path = folder.join("cell");
    for seed in [1, 2] {
        safetensors::save(&cell(seed), &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes(seed));
        assert_eq!(names(&folder), ["cell"]);
    }
    // A name of the maximum length, so that no longer one fits beside it.
    let long = folder.join("c".repeat(255));
    safetensors::save(&cell(3), &long).unwrap();
    assert_eq!(fs::read(&long).unwrap(), bytes(3));
    // If the new file cannot be made, the old one stays and nothing is added.
    let error = safetensors::save(&cell(1), folder.join("cell").join("cell")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(names(&folder), ["c".repeat(255), "cell".into()]);
}

#[test]
fn the_bytes_are_those_that_the_library_writes() {
    use ::safetensors::tensor::{Dtype, TensorView};
    use rnn_cell::{MultiRnnCell, Parameters};
    let stack = MultiRnnCell::new(vec![cell(1), cell(2)]).unwrap();
    let mut arrays = Vec::new();
    stack.visit_parameters(&mut |name, array| {
        let bytes: Vec<u8> = array.iter().flat_map(|number: &f32| number.to_le_bytes()).collect();
        arrays.push((name.to_owned(), array.shape().to_vec(), bytes));
    });
    let views = arrays.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("an array is a tensor"))
    });
    assert!(::safetensors::serialize(views, None).unwrap() == safetensors::to_bytes(&stack).unwrap());
}

#[test]
fn names_that_the_format_does_not_allow_are_refused() {
    use ndarray::ArrayViewD;
    struct Named(String);
    impl rnn_cell::Parameters<f32> for Named {
        fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, f32>)) {
            visit(&self.0, ndarray::aview1(&[1.0]).into_dyn());
        }
    }
    // Everything around the name takes 53 bytes.
    let named = |len: usize| Named("a".repeat(len - 53));
    assert_eq!(safetensors::to_bytes(&named(100_000_000)).unwrap().len(), 8 + 100_000_000 + 4);
    let error = safetensors::to_bytes(&named(100_000_001)).err().unwrap();
    let message = "its header would have 100000008 bytes, but at most 100000000 are allowed";
    assert_eq!(error, Error::InvalidFile { format: "safetensors", reason: message.into() });
    let path = folder("names").join("cell");
    assert_eq!(safetensors::save(&named(100_000_001), &path).unwrap_err(), error);
    let error = safetensors::save(&Named("__metadata__".into()), &path).unwrap_err();
    assert_eq!(
        error,
        Error::InvalidFile { format: "safetensors", reason: "no tensor may be named __metadata__".into() }
    );
    assert!(!path.exists());
}

#[test]
fn errors_keep_what_the_system_says() {
    use std::error::Error as _;
    let path = folder("errors").join("no").join("cell");
    for error in [safetensors::save(&cell(1), &path), safetensors::load(&mut cell(1), &path)].map(Result::unwrap_err) {
        let source: &std::io::Error = error.source().unwrap().downcast_ref().unwrap();
        assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        let Error::Io { error: inner, .. } = &error else { panic!("{error}") };
        assert_eq!(inner.kind(), std::io::ErrorKind::NotFound);
        assert_eq!(format!("{error:?}"), format!("file {path:?}: {source}"));
    }
    assert!(Error::ZeroSize { argument: "x" }.source().is_none());
}

#[test]
fn what_was_left_is_cleared_unless_somebody_writes_it() {
    let folder = folder("left");
    let [written, left] = ["0123456789abcdef", "00000000000000ff"].map(|number| format!(".rnn-cell-{number}.tmp"));
    let others = [".rnn-cell-ff.tmp", ".rnn-cell-0123456789ABCDEF.tmp", ".rnn-cell-0123456789abcdef", ".tmp123456"];
    for name in [&*written, &*left].iter().chain(&others) {
        fs::write(folder.join(name), "half").unwrap();
    }
    fs::create_dir(folder.join(".rnn-cell-1111111111111111.tmp")).unwrap();
    let lock = File::open(folder.join(&written)).unwrap();
    lock.lock().unwrap();
    safetensors::save(&cell(1), folder.join("cell")).unwrap();
    let mut expected = [&["cell", ".rnn-cell-1111111111111111.tmp", &written][..], &others].concat();
    expected.sort_unstable();
    assert_eq!(names(&folder), expected);
    drop(lock);
    safetensors::save(&cell(1), folder.join("cell")).unwrap();
    assert!(!folder.join(&written).exists());
}

#[test]
fn many_that_save_at_once_all_succeed() {
    let folder = folder("at_once");
    let path = folder.join("cell");
    let all: Vec<Vec<u8>> = (0..4).map(bytes).collect();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let path = &path;
            scope.spawn(move || (0..20).for_each(|_| safetensors::save(&cell(seed), path).unwrap()));
        }
        let (path, all) = (&path, &all);
        scope.spawn(move || {
            for _ in 0..100 {
                if let Ok(read) = fs::read(path) {
                    assert!(all.contains(&read), "a file of {} bytes", read.len());
                }
            }
        });
    });
    assert_eq!(names(&folder), ["cell"]);
}

/// A path that is a folder or leads to one.
fn refuses(path: &Path, found: &'static str) {
    let expected = Error::NotRegularFile { path: path.display().to_string(), found };
    assert_eq!(safetensors::save(&cell(1), path).unwrap_err(), expected);
    assert_eq!(safetensors::load(&mut cell(1), path).unwrap_err(), expected);
    assert_eq!(expected.to_string(), format!("file {path:?} is {found}, but must be a regular file"));
}

#[test]
fn a_folder_is_refused() {
    let folder = folder("folder");
    refuses(&folder, "a folder");
    assert_eq!(names(&folder), [""; 0]);
    assert_eq!(safetensors::load(&mut cell(1), "").unwrap_err().to_string().find("file \"\": "), Some(0));
    assert!(safetensors::save(&cell(1), "").is_err());
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn links_stay_and_what_they_lead_to_is_replaced() {
        let folder = folder("links");
        fs::create_dir(folder.join("inner")).unwrap();
        let target = folder.join("inner").join("cell");
        fs::write(&target, "old").unwrap();
        // A link relative to its own folder, a link to that one, and a link to nothing yet.
        symlink("inner/cell", folder.join("link")).unwrap();
        symlink(folder.join("link"), folder.join("inner/twice")).unwrap();
        symlink("inner/new", folder.join("dangling")).unwrap();
        for (seed, name, target) in
            [(1, "link", "inner/cell"), (2, "inner/twice", "inner/cell"), (3, "dangling", "inner/new")]
        {
            safetensors::save(&cell(seed), folder.join(name)).unwrap();
            assert!(folder.join(name).is_symlink(), "{name}");
            assert!(!folder.join(target).is_symlink(), "{name}");
            assert_eq!(fs::read(folder.join(target)).unwrap(), bytes(seed), "{name}");
        }
        assert_eq!(names(&folder), ["dangling", "inner", "link"]);
        assert_eq!(names(&folder.join("inner")), ["cell", "new", "twice"]);
        // Links in a circle.
        symlink("circle", folder.join("circle")).unwrap();
        assert!(matches!(safetensors::save(&cell(1), folder.join("circle")), Err(Error::Io { .. })));
        assert!(folder.join("circle").is_symlink());
        symlink("inner", folder.join("to_folder")).unwrap();
        refuses(&folder.join("to_folder"), "a folder");
    }

    #[test]
    fn permissions_are_the_old_files_or_those_of_any_new_one() {
        let folder = folder("permissions");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let (path, plain) = (folder.join("cell"), folder.join("plain"));
        File::create(&plain).unwrap();
        safetensors::save(&cell(1), &path).unwrap();
        assert_eq!(mode(&path), mode(&plain));
        for kept in [0o600, 0o666, 0o640, 0o755, 0o200] {
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            safetensors::save(&cell(2), &path).unwrap();
            assert_eq!(mode(&path), kept, "{kept:o}");
        }
    }

    /// Root may write every file.
    #[test]
    fn a_file_that_must_not_be_written_stays() {
        let folder = folder("read_only");
        let path = folder.join("cell");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        let is_root = File::options().append(true).open(&path).is_ok();
        let result = safetensors::save(&cell(1), &path);
        if is_root {
            result.unwrap();
        } else {
            let Err(Error::Io { error, .. }) = result else { panic!("{result:?}") };
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
            assert_eq!(fs::read(&path).unwrap(), b"old");
        }
        assert_eq!(names(&folder), ["cell"]);
    }

    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let folder = folder("pipes");
        let pipe = folder.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        symlink("pipe", folder.join("link")).unwrap();
        refuses(&pipe, "a pipe");
        refuses(&folder.join("link"), "a pipe");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        for device in ["/dev/null", "/dev/zero"] {
            refuses(device.as_ref(), "a device");
            assert!(fs::metadata(device).unwrap().file_type().is_char_device());
        }
        let socket = folder.join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&socket);
        if listener.is_ok() {
            refuses(&socket, "something else");
        }
        assert!(folder.join("link").is_symlink());
    }

    #[test]
    fn a_file_larger_than_memory_is_refused() {
        let path = folder("sparse").join("cell");
        File::create(&path).unwrap().set_len(1 << 43).unwrap();
        let error = safetensors::load(&mut cell(1), &path).unwrap_err();
        let Error::Io { error, .. } = error else { panic!("{error}") };
        assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory);
        fs::remove_file(&path).unwrap();
    }

    const FOLDER: &str = "RNN_CELL_TEST_FOLDER";

    /// Saves to the folder that its parent names, until it is killed.
    #[test]
    #[ignore = "run by the others, in a process of its own"]
    fn child() {
        let path = PathBuf::from(std::env::var_os(FOLDER).unwrap()).join("cell");
        let cells = [cell(2), cell(3)];
        loop {
            for cell in &cells {
                safetensors::save(cell, &path).unwrap();
            }
        }
    }

    /// [`child`] under a shell's settings.
    fn run_child(settings: &str, folder: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{settings} exec \"$0\" \"$@\"")]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "saving::unix::child", "--ignored", "--nocapture"]).env(FOLDER, folder);
        command
    }

    /// A limit on file sizes acts like a disk that fills up half way.
    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_else() {
        let folder = folder("full");
        safetensors::save(&cell(1), folder.join("cell")).unwrap();
        let output = run_child("trap '' XFSZ; ulimit -f 64;", &folder).output().unwrap();
        assert_eq!(output.status.code(), Some(101), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("File too large"), "{output:?}");
        assert_eq!(names(&folder), ["cell"]);
        assert_eq!(fs::read(folder.join("cell")).unwrap(), bytes(1));
    }

    #[test]
    fn a_process_killed_half_way_leaves_the_old_file_and_what_the_next_clears() {
        let folder = folder("half");
        safetensors::save(&cell(1), folder.join("cell")).unwrap();
        // The same limit, but now it kills, always at the same place.
        let output = run_child("ulimit -c 0; ulimit -f 64;", &folder).output().unwrap();
        assert!(output.status.signal().is_some(), "{output:?}");
        assert_eq!(fs::read(folder.join("cell")).unwrap(), bytes(1));
        let left = names(&folder);
        assert!(left.len() == 2 && left[0].starts_with(".rnn-cell-") && left[0].ends_with(".tmp"), "{left:?}");
        assert!(fs::metadata(folder.join(&left[0])).unwrap().len() > 0);
        safetensors::save(&cell(2), folder.join("another")).unwrap();
        assert_eq!(names(&folder), ["another", "cell"]);
    }

    #[test]
    fn a_process_killed_at_any_time_leaves_a_whole_file() {
        let folder = folder("killed");
        let path = folder.join("cell");
        safetensors::save(&cell(1), &path).unwrap();
        let whole = [1, 2, 3].map(bytes);
        for round in 0..20 {
            let mut child = run_child("", &folder).stdout(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(30 + 3 * round));
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(whole.contains(&fs::read(&path).unwrap()), "round {round}");
        }
        safetensors::save(&cell(1), &path).unwrap();
        assert_eq!(names(&folder), ["cell"]);
    }
}
