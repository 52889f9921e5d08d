//! How a node takes part in a cluster.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ringmesh_cluster::control::{Control, ControlSettings};
use ringmesh_cluster::detector::Judge;
use ringmesh_cluster::membership::settings::check_seeds;
use ringmesh_cluster::membership::{AppVersion, Profile, Roles};
use ringmesh_cluster::registry::RegistrySettings;
use ringmesh_cluster::resolver::{Authority, Strategy};
use ringmesh_proto::address::{Address, NodeId};

use super::downing::compare;
use super::{
    Downing, LeaseStore, MembershipSettings, MonitorSettings, OwnStrategy, ResolverSettings,
    state_file,
};
use crate::error::EngineError;

/// How a node takes part in a cluster; see [`NodeBuilder::cluster`](crate::NodeBuilder::cluster).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClusterSettings {
    /// Whether it does: [`NodeBuilder::cluster`](crate::NodeBuilder::cluster) says so.
    pub take_part: bool,
    /// Whom to ask for the cluster, the same on all nodes and in the same order. The first of them
    /// founds it if there is none; with an empty list this node founds one alone. `None`: it joins
    /// by [`Cluster::join`](super::Cluster::join) or [`found`](super::Cluster::found).
    pub seeds: Option<Vec<Address>>,
    /// What the node is for.
    pub roles: Vec<String>,
    /// The data centre it is in: "default". Each has a leader of its own, goes on by itself while
    /// others are out of reach, and gives up nobody but its own members.
    pub data_centre: String,
    /// The version of the program: 0.0.0.
    pub app_version: AppVersion,
    /// Whether that comes later, by [`Cluster::set_app_version`](super::Cluster::set_app_version):
    /// this node joins only then, also by [`seeds`](Self::seeds).
    pub app_version_later: bool,
    /// Where it remembers its cluster over restarts. Without it a node that is restarted alone,
    /// while it cannot reach the others, may found a second cluster.
    pub state_dir: Option<PathBuf>,
    /// How patient it is in joining and leaving, and what its cluster needs.
    pub membership: MembershipSettings,
    /// How closely members watch each other.
    pub monitor: MonitorSettings,
    /// Which side goes on when the cluster falls apart.
    pub downing: Downing,
    /// Whether that is decided by a strategy of the program's own instead. Code alone can say it.
    pub own_strategy: Option<OwnStrategy>,
    /// How patient it is before that.
    pub resolver: ResolverSettings,
    /// What gives it leases.
    pub lease_store: LeaseStore,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            take_part: false,
            seeds: None,
            roles: Vec::new(),
            data_centre: "default".to_owned(),
            app_version: AppVersion::default(),
            app_version_later: false,
            state_dir: None,
            membership: MembershipSettings::default(),
            monitor: MonitorSettings::default(),
            downing: Downing::default(),
            own_strategy: None,
            resolver: ResolverSettings::default(),
            lease_store: LeaseStore::default(),
        }
    }
}

impl ClusterSettings {
    /// Checks everything, wherever it was set.
    ///
    /// # Errors
    /// What cannot be; it begins with the name of the field.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.control().map(drop)
    }

    /// What the machines are given.
    fn control(&self) -> Result<(Roles, ControlSettings), String> {
        let of = |field: &str, error: &dyn fmt::Display| format!("cluster.{field}: {error}");
        let roles = self.roles.iter().map(String::as_str);
        let roles = Roles::new(roles, &self.data_centre);
        let roles = roles.map_err(|error| of("roles", &error))?;
        let seeds = self.seeds.as_deref().unwrap_or_default();
        check_seeds(seeds).map_err(|error| of("seeds", &error))?;
        self.downing
            .check()
            .map_err(|error| of("downing", &error))?;
        let mut membership = MembershipSettings {
            remembers: self.state_dir.is_some(),
            ..self.membership.clone()
        };
        let compared = &mut membership.configuration;
        let name = match &self.own_strategy {
            Some(own) => format!("own {}", own.make().name()),
            None => self.downing.text(),
        };
        let store = match self.needs_lease() {
            true => &self.lease_store,
            false => &LeaseStore::None,
        };
        let compared = compare(&name, &self.resolver, store, compared);
        compared.map_err(|error| of("membership.configuration", &error))?;
        let all = ControlSettings {
            membership,
            monitor: self.monitor,
            resolver: self.resolver,
            registry: RegistrySettings::default(),
        };
        all.check().map_err(|error| format!("cluster.{error}"))?;
        Ok((roles, all))
    }

    /// Who decides which side goes on.
    fn strategy(&self, system: &str) -> Box<dyn Strategy> {
        match &self.own_strategy {
            Some(own) => own.make(),
            None => self.downing.strategy(system, &self.data_centre),
        }
    }

    /// Whether that takes a lease.
    pub(crate) fn needs_lease(&self) -> bool {
        match &self.own_strategy {
            Some(own) => matches!(own.make().authority(), Authority::Lease(_)),
            None => self.downing.needs_lease(),
        }
    }

    /// The time between two heartbeats of members that watch each other.
    pub(crate) fn set_heartbeat_interval(&mut self, interval: Duration) {
        self.monitor.interval = interval;
        if let Judge::Phi(patience) = &mut self.monitor.judge {
            patience.interval = interval;
        }
    }

    /// How long a member may be silent beyond what is usual; `None` with a judge that knows no
    /// such time.
    pub(crate) fn heartbeat_pause(&self) -> Option<Duration> {
        match self.monitor.judge {
            Judge::Phi(patience) => Some(patience.pause),
            Judge::Deadline { .. } => None,
        }
    }

    pub(crate) fn set_heartbeat_pause(&mut self, pause: Duration) {
        if let Judge::Phi(patience) = &mut self.monitor.judge {
            patience.pause = pause;
        }
    }
}

/// What a node begins with.
pub(crate) struct Begun {
    pub(crate) machine: Control,
    /// Where what is remembered is written down.
    pub(crate) state_dir: Option<PathBuf>,
}

/// The machine of a node, with what it remembers.
pub(crate) fn begin(settings: &ClusterSettings, node: &NodeId) -> Result<Begun, EngineError> {
    let (roles, all) = settings.control().map_err(EngineError::Cluster)?;
    let own = Profile {
        node: node.clone(),
        roles,
        app_version: settings.app_version.clone(),
    };
    let memory = match &settings.state_dir {
        Some(directory) => state_file::load(directory).map_err(EngineError::State)?,
        None => None,
    };
    let machine = Control::new(all, own, memory);
    let mut machine = machine.map_err(|error| EngineError::Cluster(error.to_string()))?;
    if settings.app_version_later {
        machine = machine.with_version_later();
    }
    let strategy = settings.strategy(node.address.system());
    Ok(Begun {
        machine: machine.with_strategy(strategy),
        state_dir: settings.state_dir.clone(),
    })
}
