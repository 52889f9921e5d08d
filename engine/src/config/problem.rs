//! What is wrong with a configuration, in one line.

use std::fmt;
use std::path::PathBuf;

/// Where the value of a setting comes from. A later one wins over an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingSource {
    /// Nobody set it.
    Default,
    /// The program, through the builder.
    Code,
    /// A configuration file.
    File {
        /// As it was given to the builder.
        path: PathBuf,
        /// Line and column, from 1; columns are counted in characters. `None`: the file as a whole.
        position: Option<(usize, usize)>,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// [`NodeBuilder::set`](crate::NodeBuilder::set), the words of a command line.
    CommandLine,
}

impl fmt::Display for SettingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Code => f.write_str("code"),
            Self::File { path, position } => {
                write!(f, "{}", one_line(&path.to_string_lossy()))?;
                let Some((line, column)) = position else {
                    return Ok(());
                };
                write!(f, ":{line}:{column}")
            }
            Self::Environment { variable } => write!(f, "{}", one_line(variable)),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// Why a configuration was refused: one line that names the place, the key, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationError {
    key: Option<String>,
    source: SettingSource,
    problem: String,
}

impl ConfigurationError {
    pub(crate) fn new(
        key: Option<String>,
        source: SettingSource,
        problem: impl Into<String>,
    ) -> Self {
        Self {
            key,
            source,
            problem: problem.into(),
        }
    }

    /// The key as `section.name`, as far as the problem is one of a key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Where the value stands.
    pub fn place(&self) -> &SettingSource {
        &self.source
    }
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        if let Some(key) = &self.key {
            write!(f, "{}: ", one_line(key))?;
        }
        write!(f, "{}", one_line(&self.problem))
    }
}

impl std::error::Error for ConfigurationError {}

/// `text` with its control characters escaped.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

/// The beginning of `text`, between backticks: what somebody wrote, as far as a line has room.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_LETTERS_MAX) {
        Some((end, _)) => format!("`{}...`", &text[..end]),
        None => format!("`{text}`"),
    }
}

const QUOTED_LETTERS_MAX: usize = 60;
