//! What proves to a server who asks.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// The longest secret, in bytes: tokens of Kubernetes have about a thousand.
const SECRET_BYTES_MAX: u64 = 16 << 10;

/// What proves to a server who asks. It is in no text, and in no debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: everybody may ask.
    #[default]
    None,
    /// This text.
    Text(Box<str>),
    /// What stands in that file, without white space around it. It is read again for each request,
    /// for it may be replaced at any time: Kubernetes does so every hour.
    File(PathBuf),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Its file cannot be read.
    #[error("the secret in {} cannot be read: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is empty, too long, or has characters that no header takes.
    #[error("a secret is 1 to {SECRET_BYTES_MAX} visible characters of ASCII, and this is not")]
    Malformed,
}

impl Credential {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The secret, as it is now.
    pub(crate) fn read(&self) -> Result<Option<String>, CredentialError> {
        let secret = match self {
            Self::None => return Ok(None),
            Self::Text(text) => text.trim().to_owned(),
            Self::File(path) => {
                let mut text = String::new();
                let read = File::open(path)
                    .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text));
                let path = path.clone();
                read.map_err(|error| CredentialError::Io { path, error })?;
                text.trim().to_owned()
            }
        };
        let is_long = secret.is_empty() || secret.len() as u64 > SECRET_BYTES_MAX;
        if is_long || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialError::Malformed);
        }
        Ok(Some(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_the_secret_bytes_max_is_no_secret_nor_is_what_no_header_takes() {
        let most = usize::try_from(SECRET_BYTES_MAX).unwrap();
        let longest = "a".repeat(most);
        let text = |text: &str| Credential::Text(text.into()).read();
        assert_eq!(
            text(&format!(" {longest}\n")).unwrap(),
            Some(longest.clone())
        );
        for bad in [&format!("{longest}a"), "", "a b", "a\r\nb", "\u{e4}"] {
            let error = text(bad).expect_err("it is no secret").to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn a_file_is_read_each_time_and_no_secret_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let credential = Credential::File(path.clone());
        assert!(matches!(credential.read(), Err(CredentialError::Io { .. })));
        for secret in ["first", "second"] {
            std::fs::write(&path, format!("{secret}\n")).unwrap();
            assert_eq!(credential.read().unwrap(), Some(secret.to_owned()));
        }
        let text = Credential::Text("hidden".into());
        assert!(!format!("{text:?} {credential:?}").contains("hidden"));
        assert_eq!(Credential::None.read().unwrap(), None);
    }
}
