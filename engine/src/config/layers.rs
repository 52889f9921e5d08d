//! The layers above the code: file, environment, command line. A later one wins.

use std::ffi::OsString;
use std::path::PathBuf;

use super::key::{Key, unknown};
use super::problem::{ConfigurationError, SettingSource, quoted};
use super::table::KEYS;
use super::{Given, Settings, environment, file};

/// What the builder was told to read, in the order of precedence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    pub(crate) file: Option<PathBuf>,
    pub(crate) environment: bool,
    /// Keys and their values; without a value the whole `KEY=VALUE` that lacks its sign.
    sets: Vec<(String, Option<String>)>,
}

impl Layers {
    /// Notes a word of the command line.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.sets.push((key.to_owned(), Some(value.to_owned())));
    }

    /// Notes `KEY=VALUE`.
    pub(crate) fn set_pair(&mut self, pair: &str) {
        match pair.split_once('=') {
            Some((key, value)) => self.set(key.trim(), value),
            None => self.sets.push((pair.to_owned(), None)),
        }
    }

    /// The settings with everything read and checked. `variables` are asked for only if the
    /// builder was told to read the environment.
    pub(crate) fn resolve<I>(
        &self,
        mut settings: Settings,
        variables: impl FnOnce() -> I,
    ) -> Result<Settings, ConfigurationError>
    where
        I: IntoIterator<Item = (OsString, OsString)>,
    {
        let mut layers = Vec::new();
        if let Some(path) = &self.file {
            layers.extend(file::read(path)?);
        }
        if self.environment {
            layers.extend(environment::read(variables())?);
        }
        layers.extend(self.command_line()?);
        // In the order of the table, whatever the order of the layers: `core.hybrid_us` goes with
        // the mode that `core.idle` has in the end.
        for (number, key) in KEYS.iter().enumerate() {
            let last = layers.iter().rev().find(|given| given.key == number);
            let Some(given) = last else {
                continue;
            };
            key.apply(&mut settings, given.value.clone())
                .map_err(|problem| {
                    ConfigurationError::new(Some(key.path()), given.place.clone(), problem)
                })?;
            settings.given.push(given.clone());
        }
        settings.check()?;
        Ok(settings)
    }

    fn command_line(&self) -> Result<Vec<Given>, ConfigurationError> {
        let mut given: Vec<Given> = Vec::new();
        for (path, text) in &self.sets {
            let problem = |problem: String| {
                let place = SettingSource::CommandLine;
                ConfigurationError::new(Some(path.clone()), place, problem)
            };
            let Some(text) = text else {
                return Err(ConfigurationError::new(
                    None,
                    SettingSource::CommandLine,
                    format!(
                        "{} is not KEY=VALUE: write link.window_bytes=2097152",
                        quoted(path)
                    ),
                ));
            };
            let (section, name) = path.split_once('.').unwrap_or(("", path));
            let Some(number) = Key::find(section, name) else {
                return Err(problem(unknown(section, name, Key::path)));
            };
            if given.iter().any(|given| given.key == number) {
                return Err(problem(
                    "the key is set twice: remove one of the two".to_owned(),
                ));
            }
            let value = KEYS[number].read_text(text).map_err(problem)?;
            KEYS[number].check(&value).map_err(problem)?;
            given.push(Given {
                key: number,
                value,
                place: SettingSource::CommandLine,
            });
        }
        Ok(given)
    }
}
