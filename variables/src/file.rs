//! Values that stand in files: regular ones, no larger than a value may be.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
};

/// The largest file, which is more than any value is long.
pub(crate) const LARGEST: u64 = 64 * 1024;

/// The text of a file. An error says what is wrong and does not say the path, which may be a secret by mistake.
pub(crate) fn read(path: &str) -> io::Result<String> {
    // Asked first, because to open a pipe waits for somebody who writes.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 64 KiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}
