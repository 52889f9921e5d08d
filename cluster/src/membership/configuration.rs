//! What has to be the same on all members of a cluster.

use std::collections::BTreeMap;

use crate::codec::{self, CodecError, Reader, Writer};

/// The most settings that are compared.
pub const CONFIGURATION_MAX: usize = 64;

/// The longest name of a setting, in bytes.
pub const SETTING_NAME_BYTES_MAX: usize = 128;

/// The longest value that is compared, in bytes.
pub const SETTING_VALUE_BYTES_MAX: usize = 255;

/// The names and values that a node compares with those of a cluster when it joins.
///
/// They travel as they are, so nothing that is secret belongs here. A setting that only one side
/// names is not compared: so versions of a program that differ in their settings may meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration(BTreeMap<Box<str>, Box<str>>);

/// Why a setting cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// There are too many.
    #[error("more than {CONFIGURATION_MAX} settings cannot be compared")]
    TooMany,
    /// A name or a value is too long.
    #[error(
        "the setting {name:?} cannot be compared: names have 1 to {SETTING_NAME_BYTES_MAX} bytes, \
         values up to {SETTING_VALUE_BYTES_MAX}"
    )]
    TooLong {
        /// The name, or its beginning.
        name: String,
    },
}

impl Configuration {
    /// Adds a setting, or replaces its value.
    ///
    /// # Errors
    /// [`ConfigurationError`]; nothing changed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigurationError> {
        let is_name = (1..=SETTING_NAME_BYTES_MAX).contains(&name.len());
        if !is_name || value.len() > SETTING_VALUE_BYTES_MAX {
            let name = name.chars().take(SETTING_NAME_BYTES_MAX).collect();
            return Err(ConfigurationError::TooLong { name });
        }
        if self.0.len() >= CONFIGURATION_MAX && !self.0.contains_key(name) {
            return Err(ConfigurationError::TooMany);
        }
        self.0.insert(name.into(), value.into());
        Ok(())
    }

    /// The names of what both sides set, and differently.
    pub fn differing(&self, other: &Self) -> Vec<Box<str>> {
        let mine = self.0.iter();
        let differing = mine.filter(|(name, value)| {
            let theirs = other.0.get(*name);
            theirs.is_some_and(|theirs| theirs != *value)
        });
        differing.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.count(self.0.len());
        for (name, value) in &self.0 {
            writer.text(name).text(value);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mut configuration = Self::default();
        for _ in 0..reader.u16()? {
            let (name, value) = (codec::text(reader)?, codec::text(reader)?);
            let last = configuration.0.last_key_value();
            if last.is_some_and(|(last, _)| **last >= *name) {
                return Err(CodecError::State);
            }
            let set = configuration.set(name, value);
            set.map_err(|_| CodecError::State)?;
        }
        Ok(configuration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &[(&str, &str)]) -> Configuration {
        let mut configuration = Configuration::default();
        for (name, value) in settings {
            configuration.set(name, value).expect("fits");
        }
        configuration
    }

    #[test]
    fn what_both_set_differently_is_named_and_nothing_else() {
        let mine = of(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let theirs = of(&[("a", "1"), ("b", "other"), ("d", "4")]);
        assert_eq!(mine.differing(&theirs), ["b".into()]);
        assert_eq!(theirs.differing(&mine), ["b".into()]);
        assert!(mine.differing(&mine).is_empty());
    }

    #[test]
    fn one_over_each_maximum_is_refused() {
        let mut full = Configuration::default();
        for number in 0..CONFIGURATION_MAX {
            full.set(&format!("n{number}"), "").expect("fits");
        }
        assert_eq!(full.set("more", ""), Err(ConfigurationError::TooMany));
        assert_eq!(full.set("n1", "again"), Ok(()));
        let text = "x".repeat(SETTING_VALUE_BYTES_MAX + 1);
        let name = &text[..SETTING_NAME_BYTES_MAX];
        let mut fits = Configuration::default();
        assert_eq!(fits.set(name, &text[1..]), Ok(()));
        let too_long = |name: &str, value| Configuration::default().set(name, value).is_err();
        assert!(too_long("name", &text) && too_long("", ""));
        assert!(too_long(&text[..=SETTING_NAME_BYTES_MAX], ""));
    }
}
