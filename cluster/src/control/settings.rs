//! The settings of all machines on the control core.

use crate::membership::Settings;
use crate::monitor::MonitorSettings;
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
