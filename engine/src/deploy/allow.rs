//! What other nodes may have made here, among what is registered.

/// Keys that `spawn.allow` may list.
pub(super) const KEYS_MAX: usize = 256;

/// Stands for all that is registered.
const ALL: &str = "*";

/// Those factories that others may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllowList {
    /// `None`: all that are registered.
    keys: Option<Vec<String>>,
}

impl AllowList {
    /// Reads the text of the setting: `*`, or keys with commas between.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == ALL {
            return Ok(Self { keys: None });
        }
        let mut keys = Vec::new();
        for key in text.split(',').map(str::trim) {
            if key.is_empty() && text.trim().is_empty() {
                continue;
            }
            if key.is_empty() || key == ALL {
                return Err(": write `*` alone, or keys with one comma between".to_owned());
            }
            keys.push(key.to_owned());
        }
        if keys.len() > KEYS_MAX {
            let count = keys.len();
            return Err(format!(": {count} keys are more than {KEYS_MAX}"));
        }
        Ok(Self { keys: Some(keys) })
    }

    pub(super) fn allows(&self, key: &str) -> bool {
        let keys = self.keys.as_ref();
        keys.is_none_or(|keys| keys.iter().any(|allowed| allowed == key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_allowed_by_name_or_all_together() {
        let all = AllowList::parse("*").unwrap();
        let none = AllowList::parse(" ").unwrap();
        let two = AllowList::parse("demo.a, demo.b").unwrap();
        let allowed = |list: &AllowList| ["demo.a", "demo.b", "demo"].map(|key| list.allows(key));
        assert_eq!(allowed(&all), [true; 3]);
        assert_eq!(allowed(&none), [false; 3]);
        assert_eq!(allowed(&two), [true, true, false]);
        for bad in ["a,,b", "a,", "a,*", ","] {
            assert!(AllowList::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_over_the_keys_is_refused() {
        let keys = |count: usize| vec!["k"; count].join(",");
        assert!(AllowList::parse(&keys(KEYS_MAX)).is_ok());
        assert!(AllowList::parse(&keys(KEYS_MAX + 1)).is_err());
    }
}
