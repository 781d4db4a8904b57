//! Configuration files, read and written while the gateway runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The largest configuration, bytes.
const MAX_SIZE: u64 = 1024 * 1024;

/// Who may read a new file: it has the secret's hash.
const MODE: u32 = 0o600;

/// The text of a file.
///
/// # Errors
/// It cannot be read, or is no file of text; says which and why.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let read = || -> io::Result<String> {
        // A pipe without a writer would stop the gateway.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut text = String::new();
        file.take(MAX_SIZE + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_SIZE {
            return Err(io::Error::other(format!(
                "it is larger than {MAX_SIZE} bytes"
            )));
        }
        Ok(text)
    };
    read().map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Replaces the text of a file: whatever happens, the file is the old one or the new one.
///
/// # Errors
/// It cannot be written; says why.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    let write = || -> io::Result<()> {
        // A link stays what it is.
        let path = fs::canonicalize(path).unwrap_or(path.into());
        let mode = fs::metadata(&path).map_or(MODE, |old| old.permissions().mode() & 0o777);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        // What a crash has left.
        let _ = fs::remove_file(&new);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_mode() {
        let folder = std::env::temp_dir().join(format!("sipalg-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("startup-config");
        write(&path, "one\n").unwrap();
        assert_eq!(read(&path), Ok("one\n".into()));
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&path, "two\n").unwrap();
        assert_eq!((read(&path), mode()), (Ok("two\n".into()), 0o640));
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            1,
            "nothing else is left"
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        for path in ["/dev/zero", "/", "/nowhere"] {
            let reason = read(Path::new(path)).unwrap_err();
            assert!(
                reason.starts_with(&format!("cannot read {path}: ")),
                "{reason}"
            );
        }
    }
}
