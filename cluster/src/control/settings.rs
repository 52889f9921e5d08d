//! The settings of all machines on the control core.

use crate::membership::Settings;
use crate::membership::settings::SettingsError;
use crate::monitor::MonitorSettings;
use crate::registry::RegistrySettings;
use crate::resolver::ResolverSettings;

/// The settings of all machines on the control core.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControlSettings {
    /// Who is in the cluster.
    pub membership: Settings,
    /// How closely members watch each other.
    pub monitor: MonitorSettings,
    /// How patient they are with those that are lost.
    pub resolver: ResolverSettings,
    /// How eagerly they tell each other what they announce.
    pub registry: RegistrySettings,
}

impl ControlSettings {
    /// Checks all of them.
    ///
    /// # Errors
    /// [`SettingsError`] names the first that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.membership.check()?;
        self.monitor.check()?;
        self.resolver.check()?;
        self.registry.check()
    }
}

impl From<Settings> for ControlSettings {
    /// The defaults of all others.
    fn from(membership: Settings) -> Self {
        Self {
            membership,
            ..Self::default()
        }
    }
}
