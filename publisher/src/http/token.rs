//! The token by which a gateway knows who publishes (RFC 6750).
//!
//! It stands in a file, which another program keeps fresh: a command line is seen in the list of processes, and a token
//! is good for minutes. So the file is read again when the gateway refuses what it held.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use hyper::header::HeaderValue;

/// See the module. The token is never shown.
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    /// As a header has it; marked as sensitive.
    authorization: RefCell<HeaderValue>,
}

impl TokenFile {
    /// Reads it, and says what is wrong with it.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let authorization = RefCell::new(read(path)?);
        Ok(Self { path: path.to_owned(), authorization })
    }

    /// Returns the value of the `Authorization` header.
    pub(super) fn authorization(&self) -> HeaderValue {
        self.authorization.borrow().clone()
    }

    /// Reads the file again and tells whether there is another token than the one that was refused. The other may have
    /// been read for another event meanwhile.
    pub(super) fn has_other_than(&self, refused: &HeaderValue) -> bool {
        // A file that cannot be read now, as while it is replaced, leaves what was there. It is small and local.
        if let Ok(fresh) = read(&self.path) {
            *self.authorization.borrow_mut() = fresh;
        }
        *self.authorization.borrow() != refused
    }
}

fn read(path: &Path) -> Result<HeaderValue, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(format!("{shown} is empty; its one line is the token"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{shown} holds no token: it is one line, of visible ASCII characters without spaces"));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| format!("{shown} holds no token"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_and_never_shown() {
        let path = std::env::temp_dir().join(format!("postern-token-{}", std::process::id()));
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            TokenFile::open(&path)
        };
        for wrong in ["", "\n", "s3c ret", "s3cret\ns3cret", "s3crét"] {
            let error = read(wrong).unwrap_err();
            assert!(!error.contains("s3c"), "{error}");
        }
        let file = read("s3cret\n").unwrap();
        let first = file.authorization();
        assert_eq!(first, "Bearer s3cret");
        assert!(!format!("{file:?}").contains("s3cret"));
        assert!(!file.has_other_than(&first));
        fs::write(&path, "fresh").unwrap();
        assert!(file.has_other_than(&first));
        // For another event that was sent with the old one.
        assert!(file.has_other_than(&first));
        assert_eq!(file.authorization(), "Bearer fresh");
        fs::remove_file(&path).unwrap();
        assert!(!file.has_other_than(&file.authorization()));
        assert!(TokenFile::open(&path).unwrap_err().contains("cannot be read"));
    }
}
