//! Every way to get a configuration wrong, and what the right ones do.

mod bad;
mod clusters;
mod layers;
mod placed;
mod printed;

use std::ffi::OsString;
use std::path::PathBuf;

use super::problem::ConfigurationError;
use super::{Layers, Settings};

/// Where a test gets its settings from.
#[derive(Default)]
struct Inputs {
    code: Option<fn(&mut Settings)>,
    file: Option<Vec<u8>>,
    variables: Vec<(OsString, OsString)>,
    layers: Layers,
}

impl Inputs {
    fn file(text: impl Into<Vec<u8>>) -> Self {
        Self {
            file: Some(text.into()),
            ..Self::default()
        }
    }

    fn variable(name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        Self {
            variables: vec![(name.into(), value.into())],
            ..Self::default()
        }
    }

    fn pair(pair: &str) -> Self {
        let mut inputs = Self::default();
        inputs.layers.set_pair(pair);
        inputs
    }

    fn code(change: fn(&mut Settings)) -> Self {
        Self {
            code: Some(change),
            ..Self::default()
        }
    }

    fn resolve(&self) -> Result<Settings, ConfigurationError> {
        let mut settings = Settings::new("demo");
        if let Some(change) = self.code {
            change(&mut settings);
        }
        let mut layers = self.layers.clone();
        layers.environment = true;
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = &self.file {
            let path = folder.path().join("node.toml");
            std::fs::write(&path, text).unwrap();
            layers.file = Some(path);
        }
        layers.resolve(settings, || self.variables.clone())
    }

    /// The one line of the refusal, without the folder of the file.
    fn refusal(&self) -> String {
        let error = self.resolve().expect_err("a bad configuration");
        let line = error.to_string();
        assert!(!line.contains('\n'), "{line:?}");
        let from = line.find("node.toml").unwrap_or(0);
        line[from..].to_owned()
    }
}

/// A path that leads nowhere.
fn nowhere() -> PathBuf {
    tempfile::tempdir().unwrap().path().join("node.toml")
}
