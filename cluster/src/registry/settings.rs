//! How eager registries are.

use std::time::Duration;

use crate::membership::settings::{LEAST, SettingsError, check_time};

/// How eager registries are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegistrySettings {
    /// What changes within this time of the last message about it is told with the next one, while
    /// the members are [few](super::FEW_MEMBERS).
    pub batch: Duration,
    /// The same while they are more.
    pub batch_many: Duration,
    /// How often another member is asked whether it has the same tables.
    pub check_interval: Duration,
    /// How long an acknowledged registration waits for those that have not confirmed it.
    pub acknowledge_timeout: Duration,
    /// How long a new member waits for the tables of all others before what it finds counts.
    pub settle_timeout: Duration,
}

impl Default for RegistrySettings {
    /// 10 ms, 100 ms with many members, a check every second, and 5 s for what is waited for.
    fn default() -> Self {
        Self {
            batch: Duration::from_millis(10),
            batch_many: Duration::from_millis(100),
            check_interval: Duration::from_secs(1),
            acknowledge_timeout: Duration::from_secs(5),
            settle_timeout: Duration::from_secs(5),
        }
    }
}

impl RegistrySettings {
    /// Checks them.
    ///
    /// # Errors
    /// [`SettingsError`] names the first that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        for (name, value) in [
            ("registry batch", self.batch),
            ("registry batch_many", self.batch_many),
            ("registry check_interval", self.check_interval),
            ("registry acknowledge_timeout", self.acknowledge_timeout),
            ("registry settle_timeout", self.settle_timeout),
        ] {
            check_time((name, value), LEAST)?;
        }
        Ok(())
    }
}
