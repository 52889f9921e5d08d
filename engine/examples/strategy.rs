//! A strategy of one's own for clusters that fall apart: the side with more members goes on, but
//! only with somebody who has the vault.
//!
//! ```sh
//! cargo run --example strategy
//! ```

use std::collections::BTreeSet;

use ringmesh::Uid;
use ringmesh::cluster::strategy::{Authority, KeepMajority, Split, Strategy, Verdict};
use ringmesh::cluster::{ClusterSettings, OwnStrategy};
use ringmesh::prelude::*;

#[derive(Debug, Default)]
struct KeepVault(KeepMajority);

impl Strategy for KeepVault {
    fn name(&self) -> &'static str {
        "keep-vault"
    }

    /// Two sides never both have more than half, so those that agree are enough.
    fn authority(&self) -> Authority<'_> {
        Authority::Vote
    }

    fn decide(&self, split: &Split, consenting: &BTreeSet<Uid>) -> Verdict {
        let mut here = split.counted().filter(|it| consenting.contains(&it.uid()));
        match here.any(|it| it.member.roles().has("vault")) {
            true => self.0.decide(split, consenting),
            false => Verdict::Leave("nobody here has the vault"),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut settings = ClusterSettings::default();
    settings.seeds = Some(Vec::new());
    settings.roles = vec!["vault".to_owned()];
    settings.own_strategy = Some(OwnStrategy::new(KeepVault::default));
    Engine::node("demo")
        .cluster(settings)
        .run(|node| async move {
            let cluster = node.cluster().ok_or("it takes part in a cluster")?;
            cluster.up().await;
            println!("{}", cluster.explain().await?.strategy);
            node.shutdown();
            node.until_shutdown().await;
            Ok(())
        })?
}
