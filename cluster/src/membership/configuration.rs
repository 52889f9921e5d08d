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
/// They travel as they are, to whoever asks for the cluster: so nothing that is secret belongs
/// here, and what is [named like a secret](is_sensitive) is refused. A setting that only one side
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
    /// It is named like a secret, which must never be sent.
    #[error(
        "the setting {name:?} is named like a secret, and whatever is compared is sent to whoever \
         asks: leave it out, or compare something that tells nothing of it"
    )]
    Sensitive {
        /// The name.
        name: String,
    },
}

/// Words that make the name of a setting that of a secret.
const SENSITIVE: [&str; 9] = [
    "cookie",
    "credential",
    "credentials",
    "key",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "token",
];

/// Whether a setting is named like a secret: one of the words of its name is that of one, such as
/// `password`, `secret`, `token` or `key`, as in `db.admin_password` or `tls-key`.
pub fn is_sensitive(name: &str) -> bool {
    let mut words = name.split(|it: char| !it.is_alphanumeric());
    words.any(|word| {
        let word = word.to_lowercase();
        SENSITIVE.contains(&word.as_str()) || SENSITIVE.contains(&word.trim_end_matches('s'))
    })
}

impl Configuration {
    /// Adds a setting, or replaces its value.
    ///
    /// # Errors
    /// [`ConfigurationError`]; nothing changed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigurationError> {
        if is_sensitive(name) {
            let name = name.chars().take(SETTING_NAME_BYTES_MAX).collect();
            return Err(ConfigurationError::Sensitive { name });
        }
        self.insert(name, value)
    }

    fn insert(&mut self, name: &str, value: &str) -> Result<(), ConfigurationError> {
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
            let set = configuration.insert(name, value);
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
    fn what_is_named_like_a_secret_is_never_sent() {
        let mut configuration = of(&[("shards", "64")]);
        let secrets = [
            "password",
            "db.admin_password",
            "tls-key",
            "API.TOKENS",
            "a/client/secret",
            "auth cookie",
        ];
        for name in secrets {
            let refused = configuration.set(name, "hunter2");
            let name = name.to_owned();
            assert_eq!(refused, Err(ConfigurationError::Sensitive { name }));
        }
        let mut writer = Writer::default();
        configuration.write(&mut writer);
        let sent = writer.finish();
        assert!(!sent.windows(7).any(|it| it == b"hunter2"));
        for name in ["keyspace", "monkey", "tokenizer.language", "secretary"] {
            assert_eq!(configuration.set(name, "1"), Ok(()), "{name}");
        }
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
