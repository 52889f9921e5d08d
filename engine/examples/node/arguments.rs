//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use ringmesh::cluster::ClusterSettings;
use ringmesh::{Address, Engine, NodeBuilder};

/// A node of a cluster and nothing else. Events go to stdout, commands come from stdin: join ADDR,
/// found, leave [ADDR], down ADDR, prepare_for_full_shutdown, set_app_version V, state, why,
/// explain.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Where to listen, as in 127.0.0.1:7001; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    bind: SocketAddr,
    /// What the others dial, if not that
    #[arg(long, value_name = "ADDR")]
    advertise: Option<String>,
    /// Whom to ask for the cluster, the same on all nodes and in the same order; the first founds
    /// it. None: this node founds one alone
    #[arg(long, value_name = "ADDR")]
    seed: Vec<String>,
    /// The name of the cluster
    #[arg(long, default_value = "demo")]
    system: String,
    /// What the node is for
    #[arg(long, value_name = "R")]
    role: Vec<String>,
    /// The data centre it is in
    #[arg(long, value_name = "D", default_value = "default")]
    dc: String,
    /// Its cores
    #[arg(long, value_name = "N", default_value_t = 1)]
    cores: usize,
    /// Where it remembers its cluster over restarts
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, as in core.idle=park
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print events and answers as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep every core at work, in handlers of 1 to 10 ms: for tests
    #[arg(long, hide = true)]
    pub(crate) busy: bool,
}

impl Arguments {
    /// The node that they describe.
    pub(crate) fn node(self) -> Result<NodeBuilder, String> {
        let mut cluster = ClusterSettings::default();
        cluster.roles = self.role;
        cluster.data_centre = self.dc;
        cluster.state_dir = self.state_dir;
        let mut node = Engine::node(&self.system)
            .bind(self.bind)
            .cores(self.cores)
            .cluster(cluster);
        if let Some(advertise) = &self.advertise {
            let address = address(&self.system, advertise)?;
            node = node.advertise(address.host(), address.port());
        }
        if let Some(file) = self.config {
            node = node.config_file(file);
        }
        Ok(self.set.iter().fold(node, |node, pair| node.set_pair(pair)))
    }

    /// Whom to ask for the cluster.
    pub(crate) fn seeds(&self) -> Result<Vec<Address>, String> {
        let seeds = self.seed.iter();
        seeds.map(|seed| address(&self.system, seed)).collect()
    }
}

/// An address of the cluster `system`, of what stands on a command line.
pub(crate) fn address(system: &str, text: &str) -> Result<Address, String> {
    let address = format!("ringmesh://{system}@{text}").parse();
    address.map_err(|error| format!("{text:?} is no address such as 127.0.0.1:7001: {error}"))
}
